"""Tables: drawn in a terminal, plain columns in a pipe."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import typer


def print_table(head: Sequence[str], rows: Sequence[Sequence[str]], styles: Sequence[str] = ()) -> None:
    """Print ``rows`` under ``head``; in a terminal each in its style of ``styles``, in a pipe as lines of tab-separated values."""
    if not sys.stdout.isatty():
        for row in rows:
            typer.echo("\t".join(_printable(cell) for cell in row))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(*head, box=None, pad_edge=False)
    for index, row in enumerate(rows):
        table.add_row(*(Text(_printable(cell)) for cell in row), style=styles[index] if styles else None)
    Console().print(table)


def _printable(text: str) -> str:
    """Return ``text`` on one line, without what a terminal would obey."""
    return "".join(character if character.isprintable() else " " for character in text)
