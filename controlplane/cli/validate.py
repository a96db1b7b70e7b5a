"""``navarch validate``."""

from __future__ import annotations

import datetime as dt
import sys
from typing import Annotated

import typer

from controlplane.cli.operator.connection import Namespace
from controlplane.cli.operator.output import Form, OutputOption, show
from controlplane.cli.operator.problems import AtLeast, SeverityOption, is_selected, problem_listing
from controlplane.cli.options import OptionalPaths


def validate(
    paths: Annotated[list[str] | None, typer.Argument(metavar="[PATH]...", help="As --filename.")] = None,
    filename: OptionalPaths = None,
    severity: SeverityOption = AtLeast.INFO,
    namespace: Namespace = None,
    output: OutputOption = Form.TABLE,
) -> None:
    """Say what is wrong with manifests, with file and line.

    Exits 1 if one of the problems is an error: the object would not be used.

    For example:

      navarch validate ./manifests

      navarch validate -f ./manifests --severity error -n shop

      helm template ./chart | navarch validate -f - -o json
    """
    from controlplane.mesh.mesh import Mesh
    from controlplane.objects.changes import split
    from controlplane.objects.locations import located_problems
    from controlplane.serve.sds.written_credentials import written_credential_problems
    from controlplane.sources.files.once import read_manifests

    named = [*(paths or ()), *(filename or ())]
    if not named:
        raise typer.BadParameter("expected a PATH: a manifest, a folder of them, or - for standard input", param_hint="--filename")
    folder, changes = read_manifests(named, sys.stdin.buffer)
    for_mesh, credentials = split(changes)
    mesh = Mesh()
    mesh.apply(for_mesh)
    mesh.refresh()
    of_credentials = written_credential_problems(mesh.credentials(), credentials, dt.datetime.now(dt.UTC))
    found = located_problems((*mesh.problems(), *of_credentials), [folder])
    problems = [each for each in found if is_selected(each.row(), severity, namespace)]
    rows = [problem.row() for problem in problems]
    show(output, rows, problem_listing(rows))
    if any(problem.problem.severity == "error" for problem in problems):
        raise typer.Exit(1)
