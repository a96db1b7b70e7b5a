"""Runs the drill of the demo and shows it: its steady state, what is broken, what is seen of it, and what follows."""

from __future__ import annotations

import asyncio
import json
import shutil
import tempfile
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from controlplane.demo.load import REVIEWS, SteadyLoad, Tally
from controlplane.demo.mesh import HOSTS, DemoMesh, RunningReplica
from controlplane.demo.processes import NotReady, envoy_binary
from controlplane.demo.stores import FolderManifests
from controlplane.demo.templates import template
from controlplane.drill_runs.client import DrillClient, NotAnswered, drill_client
from controlplane.drills.judging.report import Report
from controlplane.drills.rendering.text import lines
from controlplane.untyped import Json, section, text

_PLANE = "navarch"
_DRILL = "failing-instance"
_PER_SECOND = 60
_WORDS: Mapping[str, str] = {
    "before": "steady state: it is measured before anything is broken",
    "faults": "injection: one of three instances of reviews answers 503 to everything",
    "recovery": "observation: the fault is gone from every proxy; is it steady again?",
    "after": "observation: it is steady again, and stays so",
}


def run_demo_drill(*, envoy: str, as_json: bool) -> int:
    """Run the drill with Envoys of the binary ``envoy``, or else the one that is installed; print what it found, or as JSON ``as_json``.

    Returns the exit status of a drill: 0 if the steady state held; 2 too where the mesh did not come up.
    """
    console = Console(stderr=as_json, highlight=False, soft_wrap=True)
    try:
        return asyncio.run(_run(console, envoy or envoy_binary(), as_json=as_json))
    except (NotReady, NotAnswered) as error:
        console.print(f"[red]the demo cannot go on:[/red] {escape(str(error))}")
        return 2
    except KeyboardInterrupt:
        return 130


async def _run(console: Console, envoy: str, *, as_json: bool) -> int:
    begun = time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix="navarch-demo-"))
    world = DemoMesh(folder, FolderManifests(folder / "manifests"), secure=True)
    socket = str(folder / "drills.sock")
    world.planes[_PLANE] = RunningReplica(replace(world.planes[_PLANE].replica, drills=socket))
    try:
        await world.store.save("drill", template("drill"))
        with console.status("starting a control plane, and six workloads with an Envoy each"):
            await world.start(envoy)
        await world.accepted(world.route("ratings", [{"route": [{"destination": {"host": "ratings"}}]}]), HOSTS)
        started = f"{len(world.envoys)} Envoys are up, {time.monotonic() - begun:.1f} s after the start"
        console.print(f"{started}; {_PER_SECOND} requests per second")
        async with SteadyLoad(world.caller, REVIEWS, per_second=_PER_SECOND) as load, drill_client(socket) as client:
            await load.at_least(_PER_SECOND)
            report = await _drilled(console, client)
        _print(console, report, load.tally, time.monotonic() - begun, as_json=as_json)
        return report.verdict.exit_status
    finally:
        await world.stop()
        shutil.rmtree(folder, ignore_errors=True)


async def _drilled(console: Console, client: DrillClient) -> Report:
    phase = ""
    async for line in client.lines("/v1/runs", {"name": f"default/{_DRILL}"}):
        progress = section(line, "progress")
        if found := section(line, "report"):
            return Report.model_validate(found)
        if (now := text(progress, "phase")) != phase and now in _WORDS:
            phase = now
            console.print(f"[bold]{progress.get('at'):>5} s[/bold]  {_WORDS[phase]}")
    raise NotReady("the control plane has ended the drill without a report")


def _print(console: Console, report: Report, tally: Tally, seconds: float, *, as_json: bool) -> None:
    client: Json = {"requests": tally.total, "failed": tally.failed}
    console.print("\n[bold]conclusion[/bold]")
    for line in lines(report):
        console.print(f"  {escape(line)}" if line else "")
    console.print(f"\nthe client itself: {tally.total} requests, {tally.failed} failed; {seconds:.1f} s in all")
    if as_json:
        document = {"report": json.loads(report.json_text()), "client": client, "seconds": round(seconds, 1)}
        print(json.dumps(document, indent=2))  # noqa: T201 - the answer
