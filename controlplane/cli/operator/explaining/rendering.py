"""Explanations as text: one decision a line, what lost and where it is written below it."""

from __future__ import annotations

from collections.abc import Iterator

import typer

from controlplane.cli.operator.names import short_name
from controlplane.cli.tables import printable
from controlplane.untyped import Json, items, section, text

_STYLES = {"allowed": "green", "sent": "green", "denied": "red", "lost": "red", "answered": "yellow", "unknown": "yellow"}
_STAGE_WIDTH = 16


def print_explanation(found: Json) -> None:
    """Print the explanation ``found``, which is JSON, as text."""
    for line, style in _lines(found):
        typer.secho(printable(line), fg=style)


def print_origins(found: Json) -> None:
    """Print what a resource was made from, ``found`` as JSON."""
    typer.echo(printable(f"{text(found, 'type')} {text(found, 'name')} of {short_name(text(found, 'proxy'))} is made from"))
    for origin in items(found, "origins"):
        typer.echo(printable(f"  {_origin(origin)}"))
    if not items(found, "origins"):
        typer.echo("  nothing that is written: it is there for every proxy")


def _lines(found: Json) -> Iterator[tuple[str, str | None]]:
    verdict = text(found, "verdict")
    yield f"{text(found, 'asked')}, by {short_name(text(found, 'proxy'))}: {verdict}", _STYLES.get(verdict)
    for note in _texts(found, "notes"):
        yield f"  note: {note}", None
    for way in items(found, "ways"):
        yield "", None
        yield from _way(way, "", several=len(items(found, "ways")) > 1)


def _way(way: Json, indent: str, *, several: bool) -> Iterator[tuple[str, str | None]]:
    if several:
        yield f"{indent}{text(way, 'share')} of what comes:", None
    for step in items(way, "steps"):
        for line in _step(step):
            yield f"{indent}{line}", None
    for mirror in _texts(way, "mirrors"):
        yield f"{indent}{'mirror':{_STAGE_WIDTH}} {mirror}", None
    yield _end(way, indent)
    for side in items(way, "otherSides"):
        endpoints = ", ".join(_texts(side, "endpoints"))
        proxy = short_name(text(side, "proxy"))
        yield f"{indent}  at {endpoints}{f' ({proxy})' if proxy else ''}, {text(side, 'transport')}:", None
        if unknown := text(side, "unknown"):
            yield f"{indent}    {unknown}", None
        for other in items(side, "ways"):
            yield from _way(other, f"{indent}    ", several=len(items(side, "ways")) > 1)


def _end(way: Json, indent: str) -> tuple[str, str | None]:
    verdict = text(way, "verdict")
    why = text(way, "why")
    return f"{indent}=> {verdict}: {text(way, 'ends')}{f'; {why}' if why else ''}", _STYLES.get(verdict)


def _step(step: Json) -> Iterator[str]:
    chosen = text(step, "chosen")
    yield f"{text(step, 'stage'):{_STAGE_WIDTH}} {f'{chosen}: ' if chosen else ''}{text(step, 'reason')}"
    below = " " * (_STAGE_WIDTH + 1)
    for lost in items(step, "lost"):
        yield f"{below}not {text(lost, 'what')}: {text(lost, 'why')}"
        yield from (f"{below}    {_origin(origin)}" for origin in items(lost, "origins"))
    details = section(step, "details")
    if details:
        yield f"{below}{'; '.join(f'{name}: {value}' for name, value in details.items())}"
    yield from (f"{below}by {_origin(origin)}" for origin in items(step, "origins"))


def _origin(origin: Json) -> str:
    line = origin.get("line")
    file = text(origin, "file")
    where = f" ({file}{f':{line}' if line else ''})" if file else ""
    return f"{text(origin, 'object')} {text(origin, 'field')}{where}"


def _texts(found: Json, name: str) -> list[str]:
    value = found.get(name)
    return [each for each in value if isinstance(each, str)] if isinstance(value, list) else []
