"""``navarch validate``."""

from __future__ import annotations

import datetime as dt
import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from controlplane.cli.options import Output, Paths
from controlplane.cli.tables import print_table

if TYPE_CHECKING:
    from controlplane.objects.locations import LocatedProblem

_COLORS = {"error": "red", "warning": "yellow", "info": "dim"}


def validate(
    filename: Paths,
    output: Annotated[Output, typer.Option("--output", "-o", help="How the problems are printed.")] = Output.TABLE,
) -> None:
    """Say what is wrong with manifests, with file and line.

    Exits 1 if one of the problems is an error: the object would not be used.

    For example:

      navarch validate -f ./manifests

      helm template ./chart | navarch validate -f - -o json
    """
    from controlplane.mesh.mesh import Mesh
    from controlplane.objects.changes import split
    from controlplane.objects.locations import located_problems
    from controlplane.serve.sds.written_credentials import written_credential_problems
    from controlplane.sources.files.once import read_manifests

    folder, changes = read_manifests(filename, sys.stdin.buffer)
    for_mesh, credentials = split(changes)
    mesh = Mesh()
    mesh.apply(for_mesh)
    mesh.refresh()
    of_credentials = written_credential_problems(mesh.credentials(), credentials, dt.datetime.now(dt.UTC))
    problems = located_problems((*mesh.problems(), *of_credentials), [folder])
    if output is Output.JSON:
        typer.echo(json.dumps([problem.row() for problem in problems], indent=2))
    else:
        print_problems(problems)
    if any(problem.problem.severity == "error" for problem in problems):
        raise typer.Exit(1)


def print_problems(problems: Sequence[LocatedProblem]) -> None:
    """Print ``problems`` as a table, or that there is nothing to print."""
    if not problems:
        typer.echo("no problems")
        return
    print_table(
        ("where", "severity", "object", "field", "message"),
        [
            (
                str(problem.location or ""),
                problem.problem.severity.value,
                str(problem.problem.object or ""),
                problem.problem.field,
                f"{problem.problem.message} ({problem.problem.code})",
            )
            for problem in problems
        ],
        styles=[_COLORS[problem.problem.severity.value] for problem in problems],
    )
