"""``navarch demo``."""

from __future__ import annotations

from typing import Annotated

import typer


def demo(
    *,
    keep: Annotated[bool, typer.Option("--keep", help="Leave everything running at the end, until interrupted.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
) -> None:
    """Run a small mesh on this machine and prove what it claims.

    A control plane, workloads and real Envoys; no root, no cluster. Exits 0 only if every claim held.

    For example:

      navarch demo

      navarch demo --keep
    """
    from controlplane.demo.run import run

    raise typer.Exit(run(keep=keep, as_json=as_json))
