"""``navarch drill``: run drills, and see what they found."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated, TypeAlias, TypeVar

import typer

from controlplane.cli.options import Output
from controlplane.cli.tables import print_table

if TYPE_CHECKING:
    from controlplane.drill_runs.client import DrillClient

app = typer.Typer(
    name="drill",
    help="Break something on purpose, measure what becomes of it, and put it back: docs/drills.md.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
_Socket: TypeAlias = Annotated[
    str, typer.Option(metavar="SOCKET", envvar="NAVARCH_DRILLS", help="The socket of `navarch serve --drills SOCKET`.")
]
_File: TypeAlias = Annotated[str | None, typer.Option("--filename", "-f", metavar="FILE", help="A file with a drill; - is standard input.")]
_Name: TypeAlias = Annotated[str, typer.Argument(metavar="[NAMESPACE/]NAME", help="A Drill that the control plane has.")]
_Seed: TypeAlias = Annotated[int | None, typer.Option(metavar="N", min=0, help="Chooses as the run did that had this seed.")]
_SOCKET = "/run/navarch/drills.sock"
_NOT_RUN = 2
T = TypeVar("T")


@app.command()
def run(
    name: _Name = "",
    filename: _File = None,
    seed: _Seed = None,
    write: Annotated[
        list[str] | None,
        typer.Option("--write", "-w", metavar="FILE", help="Write the report there too, as its name says: .json, .md or .html."),
    ] = None,
    compare: Annotated[str | None, typer.Option(metavar="FILE", help="Say what differs from this report (JSON).")] = None,
    probe: Annotated[str | None, typer.Option(metavar="URL", help="Ask for this all the while, from here.")] = None,
    probe_rate: Annotated[float, typer.Option(metavar="N", min=0.1, max=1000, help="How often a second.")] = 10,
    journal: Annotated[str | None, typer.Option(metavar="FILE", help="Of an experiment of Chaos Toolkit: write its journal there.")] = None,
    output: Annotated[Output, typer.Option("--output", "-o", help="How the report is printed.")] = Output.TABLE,
    socket: _Socket = _SOCKET,
) -> None:
    """Run a drill and print its report; Ctrl-C ends it and has everything put back.

    A file may also be an experiment of Chaos Toolkit, or a ChaosEngine of Litmus with pod-delete.
    Exits 0 if the steady state held, 1 if it did not, 2 if the drill was not run, 3 if it was aborted.

    For example:

      navarch drill run -f examples/drills/failing-instance.yaml

      navarch drill run shop/reviews-fail --write report.html
    """
    from controlplane.cli.drill.files import read_drill
    from controlplane.cli.drill.running import Reports, RunOptions, run_drill

    reports = Reports(tuple(write or ()), compare, as_json=output is Output.JSON)
    options = RunOptions(read_drill(filename) if filename else None, probe, probe_rate, journal)
    body = _request_body(name, filename) | ({} if seed is None else {"seed": seed})
    raise typer.Exit(_answer_of(socket, lambda client: run_drill(client, body, options, reports)))


@app.command()
def preview(
    name: _Name = "",
    filename: _File = None,
    output: Annotated[Output, typer.Option("--output", "-o", help="How it is printed.")] = Output.TABLE,
    socket: _Socket = _SOCKET,
) -> None:
    """Say what a drill would reach and measure, and what is in its way; nothing is broken. Exits 2 if it would not be run."""
    from controlplane.cli.drill.previews import preview_text

    found = _answer_of(socket, lambda client: client.ask("POST", "/v1/preview", _request_body(name, filename)))
    row = found if isinstance(found, dict) else {}
    typer.echo(json.dumps(row, indent=2) if output is Output.JSON else preview_text(row))
    if row.get("refused"):
        raise typer.Exit(_NOT_RUN)


@app.command(name="list")
def list_runs(
    output: Annotated[Output, typer.Option("--output", "-o", help="How they are printed.")] = Output.TABLE, socket: _Socket = _SOCKET
) -> None:
    """Show the drills that run, and those that have run since the control plane was started."""
    found = _answer_of(socket, lambda client: client.ask("GET", "/v1/runs"))
    rows = [row for row in found if isinstance(row, dict)] if isinstance(found, list) else []
    if output is Output.JSON:
        typer.echo(json.dumps(rows, indent=2))
    else:
        print_table(
            ("RUN", "DRILL", "PHASE", "VERDICT"),
            [[str(row.get(field) or "") for field in ("run", "drill", "phase", "verdict")] for row in rows],
        )


@app.command()
def report(
    run_id: Annotated[str, typer.Argument(metavar="RUN")],
    write: Annotated[list[str] | None, typer.Option("--write", "-w", metavar="FILE", help="Write it there: .json, .md, .html.")] = None,
    output: Annotated[Output, typer.Option("--output", "-o", help="How it is printed.")] = Output.TABLE,
    socket: _Socket = _SOCKET,
) -> None:
    """Print the report of a run that is over; `navarch drill list` has its name."""
    from controlplane.cli.drill.running import Reports, read_report

    found = _answer_of(socket, lambda client: client.ask("GET", f"/v1/runs/{run_id}"))
    Reports(tuple(write or ()), None, as_json=output is Output.JSON).show(read_report(json.dumps(found), "the answer"))


@app.command()
def abort(run_id: Annotated[str, typer.Argument(metavar="RUN")], socket: _Socket = _SOCKET) -> None:
    """End a run, and have everything put back."""
    _answer_of(socket, lambda client: client.ask("POST", f"/v1/runs/{run_id}/abort"))
    typer.echo(f"{run_id} ends")


@app.command()
def schema() -> None:
    """Print the JSON schema of reports."""
    from controlplane.drills.judging.report import Report

    typer.echo(json.dumps(Report.model_json_schema(by_alias=True), indent=2))


def _request_body(name: str, filename: str | None) -> dict[str, object]:
    from controlplane.cli.drill.files import read_drill

    if bool(name) == bool(filename):
        raise typer.BadParameter("expected the name of a Drill, or -f FILE")
    return {"document": read_drill(filename).converted.document} if filename else {"name": name}


def _answer_of(socket: str, ask: Callable[[DrillClient], Awaitable[T]]) -> T:
    from controlplane.drill_runs.client import NotAnswered, drill_client

    async def answered() -> T:
        async with drill_client(socket) as client:
            return await ask(client)

    try:
        return asyncio.run(answered())
    except NotAnswered as error:
        typer.echo(f"{'NOT RUN: ' if error.refused else 'navarch: '}{error}", err=True)
        raise typer.Exit(_NOT_RUN) from None
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
