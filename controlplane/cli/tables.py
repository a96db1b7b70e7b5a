"""Tables: drawn in a terminal, plain columns in a pipe."""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence

import typer

_SHORT = 40  # characters of first cells, which are names, that are not broken


def print_table(head: Sequence[str], rows: Sequence[Sequence[str]], styles: Sequence[str] = ()) -> None:
    """Print ``rows`` under ``head``; in a terminal each in its style of ``styles``, in a pipe as lines of tab-separated values."""
    if sys.stdout.isatty():
        typer.echo(drawn(head, rows, styles), nl=False)
    else:
        typer.echo(plain(rows), nl=False)


def plain(rows: Sequence[Sequence[str]]) -> str:
    """Return ``rows`` as lines of tab-separated values."""
    return "".join("\t".join(printable(cell) for cell in row) + "\n" for row in rows)


def drawn(head: Sequence[str], rows: Sequence[Sequence[str]], styles: Sequence[str] = (), width: int | None = None) -> str:
    """Return ``rows`` under ``head``, fitted to ``width`` columns: the terminal's, where it is not given.

    A cell that is too long goes on in the next line: nothing is cut off.
    """
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    for position, name in enumerate(head):
        longest = max((len(row[position]) for row in rows), default=0)
        table.add_column(name, overflow="fold", no_wrap=position == 0 and longest <= _SHORT)
    for index, row in enumerate(rows):
        table.add_row(*(Text(printable(cell)) for cell in row), style=styles[index] if styles else None)
    text = io.StringIO()
    if width is None:
        Console(file=text, force_terminal=True, width=Console().width).print(table)
    else:
        Console(file=text, width=width).print(table)
    return text.getvalue()


def printable(text: str) -> str:
    """Return ``text`` on one line, without what a terminal would obey."""
    return "".join(character if character.isprintable() else " " for character in text)
