"""``navarch rollback``."""

from __future__ import annotations

from typing import Annotated

import typer

from controlplane.cli.operator.connection import AdminTarget, asks_admin
from controlplane.untyped import number, section, text

_Change = Annotated[int, typer.Argument(metavar="NUMBER", min=0, help="A change, as navarch history numbers them.")]


@asks_admin
def rollback(target: AdminTarget, change: _Change) -> None:
    """Print manifests that bring everything back to how it was after a change; nothing is changed by this.

    Objects that came later cannot be taken away by a manifest: they are named on standard error.

    For example:

      navarch rollback 12 | navarch plan -f -

      navarch rollback 12 | kubectl apply -f -
    """
    import yaml

    newest = next((number(row, "number") for row in target.client.rows("/v1/history", limit="1")), 0)
    rows = target.client.rows("/v1/history/diff", since=str(newest), until=str(change))
    there = [section(row, "after") for row in rows if row.get("after") is not None]
    typer.echo(yaml.safe_dump_all(there, sort_keys=False, allow_unicode=True) if there else "", nl=False)
    for row in rows:
        if row.get("after") is None:
            typer.echo(f"{text(row, 'object')} came after change {change}: delete it", err=True)
    if not rows:
        typer.echo(f"nothing is different since change {change}", err=True)
