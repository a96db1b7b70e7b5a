"""``navarch plan``."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from controlplane.cli.operator.changing.plan_text import print_diff, print_plan
from controlplane.cli.operator.changing.texts import manifest_text
from controlplane.cli.operator.connection import AdminTarget, asks_admin
from controlplane.cli.operator.failures import WANTING, CommandFailed
from controlplane.cli.operator.output import Form, OutputOption, show_data
from controlplane.cli.options import Paths
from controlplane.untyped import Json

CHANGES = 2
Before = Annotated[
    list[str] | None,
    typer.Option("--from", metavar="PATH", help="Against these manifests, and not a running control plane: what -f has is all there is."),
]
AsDiff = Annotated[bool, typer.Option("--diff", help="Print what each resource would be like, against what it is like now.")]


@asks_admin
def plan(target: AdminTarget, filename: Paths, before: Before = None, diff: AsDiff = False, output: OutputOption = Form.TABLE) -> None:
    """Say what manifests would change before they are applied: proxies, resources, connections that end, requests, problems.

    Nothing is applied. Exits 0 where nothing would change, 2 where something would, and 1 where no plan can be made.

    For example:

      navarch plan -f ./change.yaml

      navarch plan -f ./change.yaml --diff

      navarch plan --from ./main -f ./branch -o json
    """
    try:
        found = _between(before, filename, contents=diff) if before else _against_running(target, filename, contents=diff)
    except CommandFailed as error:
        raise CommandFailed(str(error), WANTING) from None
    show_data(output, found, lambda: print_diff(found) if diff else print_plan(found))
    if found.get("changes"):
        raise typer.Exit(CHANGES)


def _between(before: list[str], after: list[str], *, contents: bool) -> Json:
    from controlplane.cli.operator.explaining.offline import written_mesh
    from controlplane.explain.planning.making import plan_between
    from controlplane.explain.work import finished

    return dict(finished(plan_between(written_mesh(before), written_mesh(after), contents=contents)).row())


def _against_running(target: AdminTarget, paths: list[str], *, contents: bool) -> Json:
    text = manifest_text(paths, sys.stdin.buffer)
    return target.client.post("/v1/plan", text, contents="true" if contents else None)
