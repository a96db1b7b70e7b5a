"""A control plane in a process of its own that injects faults as it is told, so that it can be killed while they are in force.

What it is told comes by a TCP port: a line with a call, pickled; the answer is a line as well.
"""

from __future__ import annotations

import asyncio
import base64
import pickle
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from controlplane.app.control_plane import ControlPlane
from controlplane.fleet.fault_progress import FaultProgress
from controlplane.model.faults.faults import DrillFault, FaultId
from controlplane.settings import Settings
from tests.support.processes import Process, start

HOLD_S = 600.0


@dataclass
class DrillPlane:
    """The process, and where it is reached."""

    folder: Path
    xds: str
    admin: str
    commands: str
    process: Process | None = None

    async def start(self) -> None:
        """Start it."""
        command = [sys.executable, "-m", "tests.support.drill_plane", str(self.folder / "manifests"), self.xds, self.admin, self.commands]
        self.process = await start("navarch", command, self.folder, {"PYTHONPATH": str(Path(__file__).parents[2])})

    async def prepare(self, *faults: DrillFault, lease_ms: int = 2000, hold_s: float = HOLD_S) -> FaultProgress:
        """Have ``faults`` prepared everywhere."""
        return await self._call("prepare", (faults, lease_ms, hold_s))

    async def begin(self, *ids: FaultId) -> FaultProgress:
        """Have the faults ``ids`` in force everywhere."""
        return await self._call("begin", ids)

    async def end(self, *ids: FaultId) -> FaultProgress:
        """Have the faults ``ids`` do nothing anywhere."""
        return await self._call("end", ids)

    async def remove(self, *ids: FaultId) -> FaultProgress:
        """Have the faults ``ids`` taken out."""
        return await self._call("remove", ids)

    async def _call(self, name: str, argument: object) -> FaultProgress:
        host, _, port = self.commands.rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port), limit=1 << 20)
        writer.write(_line((name, argument)))
        answer = pickle.loads(base64.b64decode(await reader.readline()))
        writer.close()
        assert isinstance(answer, FaultProgress), answer
        assert not answer.unable, answer
        return answer


async def _serve(folder: str, xds: str, admin: str, commands: str) -> None:
    plane = ControlPlane(Settings(files=(folder,), xds=xds, admin=admin))
    faults = plane.faults

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        name, argument = pickle.loads(base64.b64decode(await reader.readline()))
        match name:
            case "prepare":
                injected, lease_ms, hold_s = argument
                ids = [each.id for each in injected]
                faults.prepare(injected, hold_s=hold_s, lease_ms=lease_ms)
            case "begin" | "end" | "remove":
                ids = argument
                getattr(faults, name)(*ids)
        began = time.monotonic()
        reached = await faults.reached(*ids)
        sys.stderr.write(f"{name} {ids} after {reached.at - began:.3f} s: {reached.progress}\n")
        writer.write(_line(reached.progress))
        await writer.drain()
        writer.close()

    host, _, port = commands.rpartition(":")
    async with await asyncio.start_server(answer, host, int(port), limit=1 << 20):
        await plane.run(asyncio.Event())


def _line(content: object) -> bytes:
    return base64.b64encode(pickle.dumps(content)) + b"\n"


def main(arguments: Sequence[str]) -> None:
    """Serve the folder of manifests; three addresses follow: for proxies, the admin API, and commands."""
    folder, xds, admin, commands = arguments
    asyncio.run(_serve(folder, xds, admin, commands))


if __name__ == "__main__":
    main(sys.argv[1:])
