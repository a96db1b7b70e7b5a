"""Plans as text: in words, and as a difference of resources."""

from __future__ import annotations

import difflib
import json
from collections import Counter
from collections.abc import Iterator

import typer

from controlplane.cli.operator.names import short_name
from controlplane.cli.tables import printable
from controlplane.untyped import Json, items, section, text

_MOST = 20  # lines of one kind
_COLORS = {"+": "green", "-": "red", "@": "cyan"}


def print_plan(found: Json) -> None:
    """Print the plan ``found``, which is JSON, in words."""
    for line in _lines(found):
        typer.echo(printable(line))


def _lines(found: Json) -> Iterator[str]:
    if not found.get("changes"):
        yield "nothing would change"
        return
    objects = _texts(found, "objects")
    yield f"{_counted(objects, 'object')} would change: {_listed(objects)}"
    for group in items(found, "proxies"):
        yield from _group(group)
    yield from _problems(found, "newProblems", "new")
    yield from _problems(found, "goneProblems", "gone")


def _group(group: Json) -> Iterator[str]:
    proxies = [short_name(each) for each in _texts(group, "proxies")]
    resources = items(group, "resources")
    counts = Counter((text(each, "change"), text(each, "type")) for each in resources)
    summary = ", ".join(f"{count} {kind} {change}" for (change, kind), count in sorted(counts.items()))
    yield ""
    yield f"{_counted(proxies, 'proxy', 'proxies')} ({_listed(proxies)}): {summary}"
    yield from _bounded([f"  {text(each, 'change'):8} {text(each, 'type')} {text(each, 'name')}" for each in resources])
    for drain in items(group, "drains"):
        chains = _texts(drain, "chains")
        which = f"connections of its chains {', '.join(chains)}" if chains else "all its connections"
        yield f"  drains   {text(drain, 'listener')}: {which}"
    yield from _bounded(
        [
            f"  reroutes {text(each, 'asked')}: {', '.join(_texts(each, 'before'))} -> {', '.join(_texts(each, 'after'))}"
            for each in items(group, "rerouted")
        ]
    )
    if not items(group, "rerouted"):
        yield f"  of {group.get('tried')} requests and connections that were tried none would go elsewhere"


def _problems(found: Json, name: str, word: str) -> Iterator[str]:
    for problem in items(found, name):
        yield f"{word} {text(problem, 'severity')}: {text(problem, 'object')} {text(problem, 'field')}: {text(problem, 'message')}"


def _bounded(lines: list[str]) -> Iterator[str]:
    yield from lines[:_MOST]
    if len(lines) > _MOST:
        yield f"  and {len(lines) - _MOST} more: -o json has them all"


def _counted(among: list[str], one: str, many: str = "") -> str:
    return f"{len(among)} {one if len(among) == 1 else many or one + 's'}"


def _listed(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def print_diff(found: Json) -> None:
    """Print the plan ``found`` as a difference of the resources of each kind of proxy."""
    for group in items(found, "proxies"):
        proxies = ", ".join(short_name(each) for each in _texts(group, "proxies")[:5])
        for resource in items(group, "resources"):
            before, after = (_pretty(section(resource, side)) for side in ("before", "after"))
            name = f"{text(resource, 'type')}/{text(resource, 'name')}"
            for line in difflib.unified_diff(before, after, f"{name} of {proxies}", f"{name} planned", lineterm=""):
                typer.secho(printable(line), fg=_COLORS.get(line[:1]))


def _pretty(value: Json) -> list[str]:
    return json.dumps(value, indent=2).splitlines() if value else []


def _texts(found: Json, name: str) -> list[str]:
    value = found.get(name)
    return [each for each in value if isinstance(each, str)] if isinstance(value, list) else []
