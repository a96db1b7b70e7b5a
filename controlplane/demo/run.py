"""Runs the demo and shows it: a page in a terminal, plain lines in a pipe, or JSON."""

from __future__ import annotations

import asyncio
import json
import shutil
import signal
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from controlplane.demo.claims import DemoClaim
from controlplane.demo.consul.server import ManifestsBesideConsul, consul_binary
from controlplane.demo.mesh import DemoMesh
from controlplane.demo.processes import NotReady, envoy_binary
from controlplane.demo.stores import ClusterManifests, FolderManifests
from controlplane.demo.story import run_story, steps

# What to try after the demo, and why: where it has ended, and where it still runs, with an admin API at {admin}.
ENDED = (
    ("navarch demo --keep", "the same, left running, with a page to look at"),
    ("navarch validate -f ./manifests", "what is wrong with manifests of yours"),
    ("navarch manifests --show-values", "what an installation in a cluster can choose"),
)
LEFT_RUNNING = (
    ("navarch proxies --admin http://{admin}", "how far each Envoy has come with what it was sent"),
    ("navarch config productpage-v1.default routes --admin http://{admin}", "the rules that it has, and what made each"),
    ("navarch problems --admin http://{admin}", "what is wrong, by file and line"),
)


def run(store: ClusterManifests | None, *, envoy: str, consul: bool, keep: bool, as_json: bool) -> int:
    """Run the story on manifests in ``store``, or else in a folder, with Envoys of the binary ``envoy``, or else the one that is installed.

    With ``consul`` a folder is served beside a Consul.

    Returns 0 if every claim held, 1 if one did not, 2 if the mesh did not come up. ``keep`` leaves it running at the end until interrupted;
    ``as_json`` prints the figures instead of the page.
    """
    console = Console(stderr=as_json, highlight=False, soft_wrap=True)
    try:
        binaries = (envoy or envoy_binary(), consul_binary() if consul else "")
        return asyncio.run(_run(console, store, binaries, keep=keep, as_json=as_json))
    except NotReady as error:
        console.print(f"[red]the demo cannot go on:[/red] {escape(str(error))}")
        return 2
    except KeyboardInterrupt:
        return 130


async def _run(console: Console, store: ClusterManifests | None, binaries: tuple[str, str], *, keep: bool, as_json: bool) -> int:
    envoy, consul = binaries
    begun = time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix="navarch-demo-"))
    manifests = folder / "manifests"
    beside = ManifestsBesideConsul(manifests, consul) if consul else None
    world = DemoMesh(folder, store or beside or FolderManifests(manifests), secure=True, edge=True)
    claims: list[DemoClaim] = []
    try:
        with console.status("starting a control plane, six workloads with an Envoy each, and a gateway"):
            await world.start(envoy)
        console.print(f"{len(world.envoys)} Envoys and a gateway are up, {time.monotonic() - begun:.1f} s after the start\n")
        async for claim in run_story(world):
            claims.append(claim)
            verdict = "[green]held[/green]  " if claim.held else "[red]FAILED[/red]"
            console.print(f"{verdict} [bold]{claim.title}[/bold]: {escape(claim.proof)}")
            for line in claim.shown:
                console.print(f"         [dim]{escape(line)}[/dim]")
        seconds = time.monotonic() - begun
        _print_summary(console, claims, len(steps(world.store)), seconds, as_json=as_json)
        _print_next(console, LEFT_RUNNING if keep else ENDED, world.planes["navarch"].replica.admin)
        if keep:
            await _wait_until_interrupted(console, world)
    finally:
        await world.stop()
        shutil.rmtree(folder, ignore_errors=True)
    return 0 if len(claims) == len(steps(world.store)) and all(claim.held for claim in claims) else 1


def _print_summary(console: Console, claims: Sequence[DemoClaim], of: int, seconds: float, *, as_json: bool) -> None:
    held = sum(claim.held for claim in claims)
    console.print(f"\n{held} of {of} claims held, in {seconds:.1f} s")
    if as_json:
        rows = [
            {"claim": claim.title, "held": claim.held, "proof": claim.proof, "figures": dict(claim.figures), "shown": claim.shown}
            for claim in claims
        ]
        print(json.dumps({"claims": rows, "held": held, "of": of, "seconds": round(seconds, 1)}, indent=2))  # noqa: T201 - the answer


def _print_next(console: Console, commands: Sequence[tuple[str, str]], admin: str) -> None:
    console.print("\nTry next:")
    for command, why in commands:
        console.print(f"  [bold]{escape(command.format(admin=admin))}[/bold]  [dim]{escape(why)}[/dim]")


async def _wait_until_interrupted(console: Console, world: DemoMesh) -> None:
    table = Table(title="It is still running; Ctrl-C ends it")
    table.add_column("what")
    table.add_column("where")
    for plane in world.planes.values():
        table.add_row("page, to look at", f"http://{plane.replica.admin}/")
        table.add_row("admin API", f"http://{plane.replica.admin}/v1/proxies")
    store = world.store
    location = str(store.folder) if isinstance(store, FolderManifests) else f"kubectl --namespace {store.namespace} get vs,dr,we"
    table.add_row("manifests, to edit", location)
    for name in world.envoys:
        table.add_row(f"{name}'s Envoy", f"http://{world.instances[name].ip}:15000")
    console.print(table)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    await stop.wait()
