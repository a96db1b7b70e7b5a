"""How commands for operators print what they found: a table, or JSON or YAML; once, or again whenever it is different (``--watch``)."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated, TypeAlias, TypeVar

import typer

from controlplane.cli.tables import print_table

WATCH_S = 1.0  # between two looks of --watch

T = TypeVar("T")


class Form(StrEnum):
    """How a command prints what it found."""

    TABLE = "table"
    WIDE = "wide"
    JSON = "json"
    YAML = "yaml"


OutputOption: TypeAlias = Annotated[Form, typer.Option("--output", "-o", help="How it is printed; wide has more columns.")]
Watch: TypeAlias = Annotated[bool, typer.Option("--watch", "-w", help="Print it again whenever it has changed, until stopped by Ctrl-C.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """A table: ``head`` over ``rows``, each in its style of ``styles``; the columns in ``wide`` are in ``-o wide`` alone."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    styles: Sequence[str] = ()
    wide: frozenset[str] = field(default_factory=frozenset)
    nothing: str = ""  # what is said where there are no rows


def show(output: Form, data: object, listing: Listing) -> None:
    """Print what was found as ``output`` says: ``data``, which is JSON, or ``listing``."""
    show_data(output, data, lambda: _print(listing, wide=output is Form.WIDE))


def show_data(output: Form, data: object, print_text: Callable[[], None]) -> None:
    """Print what was found as ``output`` says: ``data``, which is JSON, or by ``print_text`` what people read."""
    match output:
        case Form.JSON:
            typer.echo(json.dumps(data, indent=2))
        case Form.YAML:
            import yaml

            typer.echo(yaml.safe_dump(json.loads(json.dumps(data)), sort_keys=False, allow_unicode=True), nl=False)
        case Form.TABLE | Form.WIDE:
            print_text()


def _print(listing: Listing, *, wide: bool) -> None:
    if not listing.rows and listing.nothing:
        typer.echo(listing.nothing)
        return
    columns = [number for number, name in enumerate(listing.head) if wide or name not in listing.wide]
    rows = [[row[number] for number in columns] for row in listing.rows]
    print_table([listing.head[number] for number in columns], rows, listing.styles)


def repeat(look: Callable[[], T], print_found: Callable[[T], None], *, watch: bool) -> T:
    """Print what ``look`` finds by ``print_found``, and return it; with ``watch`` again whenever that is different, until interrupted."""
    before = look()
    print_found(before)
    while watch:
        time.sleep(WATCH_S)
        found = look()
        if found != before:
            if sys.stdout.isatty():
                typer.echo("\x1b[H\x1b[2J", nl=False)
            else:
                typer.echo("")
            print_found(found)
            before = found
    return before
