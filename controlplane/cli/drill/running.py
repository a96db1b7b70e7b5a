"""Runs a drill from a terminal: what is shown while it runs, and what becomes of its report."""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass
from pathlib import Path

import typer
from pydantic import ValidationError
from rich.console import Console

from controlplane.cli.drill.files import DrillFile
from controlplane.cli.drill.probing import ask_probes, traffic
from controlplane.drill_runs.client import DrillClient, NotAnswered
from controlplane.drills.experiments.chaos_toolkit import journal
from controlplane.drills.judging.comparison import changes
from controlplane.drills.judging.report import DrillVerdict, Report
from controlplane.drills.rendering.markdown import markdown
from controlplane.drills.rendering.text import lines
from controlplane.untyped import Json, items, section

_FORMATS = (".json", ".md", ".html")


@dataclass(frozen=True, slots=True)
class Reports:
    """Where a report goes: into the files ``written``, and to standard output; compared with that in the file ``before``."""

    written: tuple[str, ...]
    before: str | None
    as_json: bool = False

    def check(self) -> None:
        """Raise BadParameter where it cannot go there."""
        for path in self.written:
            if Path(path).suffix not in _FORMATS:
                raise typer.BadParameter(f"{path}: expected a name that ends with {', '.join(_FORMATS)}", param_hint="--write")
        if self.before is not None:
            self._read_before()

    def show(self, report: Report) -> None:
        """Print ``report``, and write it."""
        earlier = self._read_before()
        if earlier is not None:
            report = report.model_copy(update={"changes": tuple(changes(earlier, report))})
        for path in self.written:
            Path(path).write_text(_formatted(report, Path(path).suffix), encoding="utf-8")
        typer.echo(report.json_text() if self.as_json else "\n".join(lines(report)))

    def _read_before(self) -> Report | None:
        if self.before is None:
            return None
        try:
            return read_report(Path(self.before).read_text(encoding="utf-8"), self.before)
        except (OSError, UnicodeDecodeError) as error:
            raise typer.BadParameter(str(error), param_hint="--compare") from None


def read_report(text: str, where: str) -> Report:
    """Return the report that is ``text``, from ``where``. Raises BadParameter."""
    try:
        return Report.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        path = ".".join(map(str, first["loc"]))
        raise typer.BadParameter(f"{where} is no report of a drill: {path}: {first['msg']}") from None


@dataclass(frozen=True, slots=True)
class RunOptions:
    """What is done beside a run: of what ``file`` says, requests for ``probe`` at ``probe_rate``, a ``journal``."""

    file: DrillFile | None = None
    probe: str | None = None
    probe_rate: float = 10.0
    journal: str | None = None

    def check(self) -> None:
        """Raise BadParameter where something cannot be done."""
        if self.journal is not None and (self.file is None or self.file.experiment is None):
            raise typer.BadParameter("expected an experiment of Chaos Toolkit as FILE", param_hint="--journal")
        if self.probe is not None and not self.probe.startswith(("http://", "https://")):
            raise typer.BadParameter("expected a URL with http or https", param_hint="--probe")


async def run_drill(client: DrillClient, body: Json, options: RunOptions, reports: Reports) -> int:
    """Have ``client`` run what ``body`` asks for, with ``options``, show how it goes on, and the report where ``reports`` says.

    Returns the exit status.
    """
    reports.check()
    options.check()
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    file = options.file
    probes = file.converted.probes if file else ()
    for note in file.converted.notes if file else ():
        console.print(f"note: {note}")
    before = await ask_probes(probes)
    if failed := next((result for result in before if not result.met), None):
        raise NotAnswered(f"it was not steady before anything was broken: {failed.name} found {failed.output}", refused=True)
    async with contextlib.AsyncExitStack() as stack:
        record = await stack.enter_async_context(traffic(options.probe, options.probe_rate)) if options.probe else None
        report = await _reported(client, body, console)
    after = await ask_probes(probes)
    reports.show(report)
    if record is not None:
        console.print(record.words)
    for result in after:
        console.print(f"{'held' if result.met else 'missed'}  {result.name}: found {result.output}")
    if options.journal is not None and file is not None and file.experiment is not None:
        _write_json(options.journal, journal(file.experiment, report, before, after))
    missed = report.verdict is DrillVerdict.HELD and not all(result.met for result in after)
    return (DrillVerdict.DEVIATED if missed else report.verdict).exit_status


async def _reported(client: DrillClient, body: Json, console: Console) -> Report:
    with console.status("the drill begins") as status:
        async for line in client.lines("/v1/runs", body):
            if progress := section(line, "progress"):
                status.update(_progress_words(progress))
            elif found := section(line, "report"):
                return Report.model_validate(found)
            else:
                console.print(f"run {line.get('run')} of {line.get('drill')}, seed {line.get('seed')}")
    raise NotAnswered("the control plane has ended the run without a report; its log says why")


def _write_json(path: str, document: Json) -> None:
    Path(path).write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


def _progress_words(progress: Json) -> str:
    faults = ", ".join(f"{name}: {step}" for name, step in section(progress, "faults").items())
    edges = ", ".join(
        f"{edge.get('name')}: {edge.get('requests')} requests, {edge.get('failures')} failed"
        + (f", {edge.get('ejected')} ejected" if edge.get("ejected") else "")
        for edge in items(progress, "edges")
    )
    return f"{progress.get('at')} s, {progress.get('phase')} ({faults}); {edges}"


def _formatted(report: Report, suffix: str) -> str:
    if suffix == ".json":
        return report.json_text()
    if suffix == ".md":
        return markdown(report)
    from controlplane.drills.rendering.page import page

    return page(report)
