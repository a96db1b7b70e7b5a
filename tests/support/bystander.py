"""What somebody who has nothing to do with an attack notices of it: how long a change takes, ``/healthz``, and the server's memory."""

from __future__ import annotations

import asyncio
import os
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from controlplane.envoy.type_urls import CDS, EDS
from tests.support.control_plane import NODE, DeltaCall, delta, delta_request, next_delta
from tests.support.manifests import selecting, workload
from tests.support.processes import Process, free_port, start
from tests.support.waiting import until

CLUSTER = "outbound|80||web.shop.svc.cluster.local"


@dataclass
class Noticed:
    """The figures of one attack, in seconds and bytes."""

    attack: str
    change_s: list[float] = field(default_factory=list)
    health_s: list[float] = field(default_factory=list)
    memory: int = 0
    became: str = ""
    load: float = 0.0  # of the machine, as it began

    @property
    def row(self) -> str:
        """Return it as a row of a table."""
        return (
            f"| {self.attack} | {max(self.change_s):.2f} s ({len(self.change_s)}) | {max(self.health_s) * 1000:.0f} ms"
            f" | {self.memory / 1e6:.0f} MB | {self.load:.1f} | {self.became} |"
        )


class Attacked:
    """A control plane in a process of its own, with a bystander's stream."""

    def __init__(self, process: Process, xds: str, admin: str, manifests: Path) -> None:
        self.process = process
        self.xds = xds
        self.admin = admin
        self.manifests = manifests
        self._moves = 0

    async def healthy(self) -> bool:
        """Return whether ``/readyz`` says so."""
        return await asyncio.to_thread(self._ready)

    def _ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://{self.admin}/readyz", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    async def move(self, call: DeltaCall) -> float:
        """Give the bystander's endpoint another address, and return how many seconds later ``call`` has it."""
        self._moves += 1
        address = f"10.9.{self._moves // 200}.{self._moves % 200 + 1}"
        began = time.perf_counter()
        _replace(self.manifests / "web-1.yaml", workload("web-1", "web", address))
        while True:
            answer = await next_delta(call)
            await call.write(delta_request(answer.type_url, nonce=answer.nonce))
            if any(address.encode() in resource.resource.value for resource in answer.resources):
                return time.perf_counter() - began

    async def check_health(self, took: list[float]) -> None:
        """Ask for ``/healthz`` on and on, each time by a connection of its own."""
        while True:
            began = time.perf_counter()
            await asyncio.to_thread(self._health)
            took.append(time.perf_counter() - began)
            await asyncio.sleep(0.02)

    def _health(self) -> None:
        with urllib.request.urlopen(f"http://{self.admin}/healthz", timeout=120) as answer:
            answer.read()

    async def told(self, text: str) -> bool:
        """Return whether ``text`` is in what ``/v1/problems`` says."""
        return text in await asyncio.to_thread(self._problems)

    def _problems(self) -> str:
        with urllib.request.urlopen(f"http://{self.admin}/v1/problems", timeout=120) as answer:
            return str(answer.read(), "utf-8")

    @property
    def peak(self) -> int:
        """Return the most bytes that it ever had in memory."""
        return self._bytes("VmHWM")

    @property
    def address_space(self) -> int:
        """Return how many bytes it has addresses for."""
        return self._bytes("VmSize")

    def _bytes(self, name: str) -> int:
        [line] = [line for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines() if line.startswith(f"{name}:")]
        return int(line.split()[1]) * 1024


async def attacked(folder: Path, environment: Mapping[str, str] | None = None) -> Attacked:
    """Start a control plane in ``folder``, and return it when it is ready."""
    manifests = folder / "manifests"
    manifests.mkdir()
    (manifests / "web.yaml").write_text(selecting("web", "web"))
    (manifests / "web-1.yaml").write_text(workload("web-1", "web", "10.8.0.1"))
    xds, admin = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
    command = [sys.executable, "-m", "controlplane.cli.main", "serve", "--files", str(manifests), "--xds", xds, "--admin", admin]
    process = await start("navarch", command, folder, environment)
    found = Attacked(process, xds, admin, manifests)
    await until(found.healthy, "ready", watched=process)
    return found


async def under_attack(server: Attacked, attack: str, seconds: float) -> Noticed:
    """Return what a bystander of ``server`` notices while it is attacked."""
    noticed = Noticed(attack, load=os.getloadavg()[0])
    async with delta(server.xds) as call:
        await call.write(delta_request(CDS, node=NODE))
        await call.write(delta_request(EDS, names=(CLUSTER,)))
        await server.move(call)
        asking = asyncio.create_task(server.check_health(noticed.health_s))
        where = (server.xds, server.admin, str(server.manifests), str(seconds))
        attacker = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.support.attackers", attack, *where, stdout=asyncio.subprocess.PIPE, cwd=Path(__file__).parents[2]
        )
        try:
            said = asyncio.create_task(attacker.communicate())
            while not said.done():
                noticed.change_s.append(await server.move(call))
                await asyncio.sleep(0.1)
            noticed.became = (await said)[0].decode().strip().strip('"')
        finally:
            if attacker.returncode is None:
                attacker.kill()
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
        noticed.memory = server.peak
    return noticed


def _replace(path: Path, text: str) -> None:
    draft = path.with_suffix(".tmp")
    draft.write_text(text)
    draft.replace(path)
