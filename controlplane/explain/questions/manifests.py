"""Manifests as text, read as a source of files reads them, for what is asked about them alone."""

from __future__ import annotations

from collections.abc import Iterable

from controlplane.errors import UserError
from controlplane.model.keys import Key
from controlplane.model.problems import Problem, Severity
from controlplane.objects.changes import Change, MeshChange, split
from controlplane.objects.parse import parse
from controlplane.objects.reading.documents import documents

MOST_DOCUMENTS = 5000


class BadManifests(UserError, ValueError):
    """A text that is no manifests, or has an object with an error in it; the message says where."""


def objects_in(text: str) -> tuple[MeshChange, ...]:
    """Return what the manifests ``text`` make of objects that the mesh is made from; raises BadManifests."""
    found: dict[Key, Change] = {}
    errors: list[Problem] = []
    for number, document in enumerate(documents(text)):
        if number == MOST_DOCUMENTS:
            raise BadManifests(f"expected at most {MOST_DOCUMENTS} documents")
        if document.problem is not None:
            errors.append(document.problem)
            continue
        parsed = parse(document.data or {})
        errors += [problem for problem in parsed.problems if problem.severity is Severity.ERROR]
        if parsed.object is not None and parsed.key is not None:
            found[parsed.key] = Change(parsed.key, parsed.object)
    if errors:
        raise BadManifests(_in_words(errors))
    if not found:
        raise BadManifests("there is no object in these manifests")
    return split(found.values())[0]


def _in_words(problems: Iterable[Problem]) -> str:
    told = [": ".join(filter(None, (f"{each.object or ''} {each.field}".strip(), each.message))) for each in problems]
    more = f"; and {len(told) - 3} more" if len(told) > 3 else ""
    return "; ".join(told[:3]) + more
