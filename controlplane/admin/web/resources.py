"""The resources that a proxy is sent, by type and name, and what each was made from."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from typing import NamedTuple

import orjson

from controlplane.admin.state import AdminState
from controlplane.admin.traffic.explanations import sight_of
from controlplane.admin.web.choices import KINDS, ResourceKind, proxy_choices, session_called
from controlplane.admin.web.rendering import html_pieces
from controlplane.envoy.packing import json_pieces
from controlplane.explain.questions.answers import resource_origins
from controlplane.explain.questions.question import BadQuestion
from controlplane.mesh.sessions import Session
from controlplane.untyped import Json, items

MOST_NAMES = 1000  # of one type that are listed
_MOST_JSON = 1 << 20  # bytes of a resource that are shown; the API has all of them


class WantedResources(NamedTuple):
    """What is looked at: resources of a ``kind`` of a ``proxy`` that have ``words`` in their names, and the whole of one, ``name``."""

    proxy: str = ""
    kind: str = ""
    name: str = ""
    words: str = ""


def resources_page(state: AdminState, wanted: WantedResources) -> Iterator[bytes]:
    """Yield the page with what is ``wanted``."""
    choices = proxy_choices(state, wanted.proxy)
    yield b""
    kind = next((each for each in KINDS if each.name == wanted.kind), KINDS[0])
    session = session_called(state, wanted.proxy) if wanted.proxy else None
    rows = []
    for resource in sorted(session.view.resources(kind.type_url), key=lambda each: each.name) if session else ():
        if wanted.words.lower() in resource.name.lower():
            rows.append(resource)
        yield b""
    shown = yield from _of_one(state, session, kind, wanted.name)
    context = {
        "wanted": wanted,
        "choices": choices,
        "kinds": KINDS,
        "kind": kind,
        "session": session,
        "rows": rows[:MOST_NAMES],
        "found": len(rows),
        **shown,
    }
    yield from html_pieces("resources.html", "resources", context)


def _of_one(state: AdminState, session: Session | None, kind: ResourceKind, name: str) -> Generator[bytes, None, Mapping[str, object]]:
    """Return what is shown of the resource ``name``: its JSON and what it was made from, or why it is not there."""
    nothing: Mapping[str, object] = {"json": None, "origins": (), "missing": "", "too_long": False}
    if session is None or not name:
        return nothing
    resource = session.view.get(kind.type_url, name)
    if resource is None:
        return {**nothing, "missing": name}
    encoded = bytearray()
    for piece in json_pieces(resource.type_url, resource.value):
        encoded += piece
        yield b""
        if len(encoded) > _MOST_JSON:
            return {**nothing, "too_long": True, "origins": _origins(state, session, kind, name)}
    text = orjson.dumps(orjson.loads(encoded), option=orjson.OPT_INDENT_2).decode()
    return {**nothing, "json": text, "origins": _origins(state, session, kind, name)}


def _origins(state: AdminState, session: Session, kind: ResourceKind, name: str) -> tuple[Json, ...]:
    try:
        found = resource_origins(sight_of(state), session, kind.name, name)
    except BadQuestion:  # it went away meanwhile
        return ()
    return items(found, "origins")
