"""``navarch objects``."""

from __future__ import annotations

from typing import Annotated

import typer

from controlplane.cli.operator.connection import AdminTarget, Namespace, asks_admin
from controlplane.cli.operator.output import Form, Listing, OutputOption, Watch, repeat, show
from controlplane.cli.operator.problems import place
from controlplane.untyped import Json, text

_Kind = Annotated[str | None, typer.Argument(metavar="[KIND]", help="Of this kind alone, as VirtualService.")]


@asks_admin
def objects(
    target: AdminTarget, kind: _Kind = None, namespace: Namespace = None, output: OutputOption = Form.TABLE, watch: Watch = False
) -> None:
    """List the objects that are in effect, and where they stand.

    For example:

      navarch objects

      navarch objects VirtualService -n shop -o yaml
    """

    def look() -> list[Json]:
        rows = target.client.rows("/v1/objects", namespace=namespace)
        return [row for row in rows if kind is None or text(row, "kind").lower() == kind.lower()]

    def print_found(rows: list[Json]) -> None:
        cells = [(text(row, "kind"), text(row, "namespace"), text(row, "name"), place(row)) for row in rows]
        show(output, rows, Listing(head=("KIND", "NAMESPACE", "NAME", "WHERE"), rows=cells, nothing="no objects"))

    repeat(look, print_found, watch=watch)
