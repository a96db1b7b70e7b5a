"""``navarch problems``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Annotated

import typer

from controlplane.cli.operator.connection import AdminTarget, Namespace, asks_admin
from controlplane.cli.operator.failures import WANTING
from controlplane.cli.operator.output import Form, Listing, OutputOption, Watch, repeat, show
from controlplane.untyped import Json, number, text

STYLES = {"error": "red", "warning": "yellow", "info": "dim"}


class AtLeast(StrEnum):
    """Which Problems are shown: those that are as bad, or worse."""

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


SeverityOption = Annotated[AtLeast, typer.Option("--severity", help="Only what is as bad as this, or worse.")]


@asks_admin
def problems(
    target: AdminTarget,
    severity: SeverityOption = AtLeast.INFO,
    namespace: Namespace = None,
    output: OutputOption = Form.TABLE,
    watch: Watch = False,
) -> None:
    """Say what is wrong with the objects that a control plane has, and what its proxies refuse.

    Exits 1 if one of them is an error.

    For example:

      navarch problems

      navarch problems --severity error -n shop -o json
    """

    def look() -> list[Json]:
        return [row for row in target.client.rows("/v1/problems") if is_selected(row, severity, namespace)]

    def print_found(rows: list[Json]) -> None:
        show(output, rows, problem_listing(rows))

    last = repeat(look, print_found, watch=watch)
    if any(text(row, "severity") == AtLeast.ERROR for row in last):
        raise typer.Exit(WANTING)


def is_selected(row: Mapping[str, object], severity: AtLeast, namespace: str | None) -> bool:
    """Return whether the Problem ``row`` is as bad as ``severity``, and of an object in ``namespace`` where that is given."""
    shown = tuple(AtLeast)[: tuple(AtLeast).index(severity) + 1]
    parts = text(row, "object").split("/")
    return text(row, "severity") in shown and namespace in {None, parts[1] if len(parts) > 2 else ""}


def problem_listing(rows: Sequence[Mapping[str, object]]) -> Listing:
    """Return the table of the Problems ``rows``."""
    return Listing(
        head=("where", "severity", "object", "field", "message"),
        rows=[
            (place(row), text(row, "severity"), text(row, "object"), text(row, "field"), f"{text(row, 'message')} ({text(row, 'code')})")
            for row in rows
        ],
        styles=[STYLES.get(text(row, "severity"), "") for row in rows],
        nothing="no problems",
    )


def place(row: Mapping[str, object]) -> str:
    """Return the file and line that ``row`` names, empty where it names none."""
    line = number(row, "line")
    return f"{text(row, 'file')}:{line}" if line else text(row, "file")
