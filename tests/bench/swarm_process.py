"""The swarm as a process: simulated sidecars in Go where Go is, in Python where it is not, and the commands that it takes.

``python -m tests.bench.swarm_process`` builds the program in Go, where it is missing and Go is there.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import sys
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from controlplane.untyped import number, section, text
from tests.bench.workload import Size
from tests.support import go_programs

_SOURCES = Path(__file__).parent / "swarm"
_LINE_BYTES = 1 << 20
_ANSWER_S = 60.0  # beyond what the swarm itself waits
_CONNECT_S = 240.0
_CHANGE_S = 60.0


class SwarmFault(Exception):
    """The sidecars did not come to what was waited for; the text says which."""


@dataclass(frozen=True, slots=True)
class Traffic:
    """What all sidecars have been sent so far."""

    responses: int
    resources: int
    bytes: int
    resource_bytes: int

    def since(self, before: Traffic) -> Traffic:
        """Return what has been sent since ``before``."""
        responses, resources = self.responses - before.responses, self.resources - before.resources
        return Traffic(responses, resources, self.bytes - before.bytes, self.resource_bytes - before.resource_bytes)


@dataclass(frozen=True, slots=True)
class Arrival:
    """When sidecars came to something: seconds of ``time.perf_counter``, which is CLOCK_MONOTONIC; and all traffic up to then."""

    begun: float
    first: float
    median: float
    last: float
    traffic: Traffic


def go_swarm() -> Path:
    """Return the program in Go, built if it has to be."""
    return go_programs.built(go_programs.kept("swarm", _SOURCES.glob("*.*")) / "swarm", _SOURCES, ".")


class Swarm:
    """Simulated sidecars, which are meant by their numbers."""

    def __init__(self, process: asyncio.subprocess.Process, size: Size, language: str) -> None:
        """Speak to ``process``, whose sidecars are those of ``size``; it is written in ``language``."""
        self.language = language
        self._process = process
        self._size = size
        self._since = Traffic(0, 0, 0, 0)

    async def connect(self, addresses: Sequence[str], numbers: range, *, again: bool = False) -> Arrival:
        """Connect the sidecars ``numbers`` to ``addresses`` in turn, ``again`` with what they had; return when all are configured."""
        before = await self.traffic()
        more = {"addresses": [*addresses], "namespaces": self._size.namespaces, "least": self._size.visible, "again": again}
        return _arrival(await self._ask("connect", numbers, _CONNECT_S, **more), before)

    async def leave(self, numbers: range) -> None:
        """Hang up."""
        await self._ask("leave", numbers)

    async def expect(self, type_url: str, name: str, mark: bytes, numbers: range, *, removed: bool = False) -> None:
        """Expect that each of ``numbers`` gets ``name`` with ``mark`` in its bytes, or (``removed``) hears that it is gone."""
        self._since = await self.traffic()
        marked = base64.b64encode(mark).decode()
        await self._ask("expect", numbers, type_url=type_url, name=name, mark=marked, removed=removed)

    async def arrival(self) -> Arrival:
        """Return when what is expected came, with the traffic since it was expected."""
        return _arrival(await self._ask("await", range(0), _CHANGE_S), self._since)

    async def pause(self, numbers: range) -> None:
        """Let ``numbers`` read nothing more."""
        await self._ask("pause", numbers)

    async def resume(self, numbers: range) -> None:
        """Let ``numbers`` read again."""
        await self._ask("resume", numbers)

    async def save(self, folder: Path) -> None:
        """Write below ``folder`` what the first sidecar was sent until it was configured, and the last awaited response of each type."""
        await self._ask("save", range(0), folder=str(folder))

    async def traffic(self) -> Traffic:
        """Return what all sidecars have been sent so far."""
        return _traffic(await self._ask("totals", range(0)))

    async def _ask(self, what: str, numbers: range, within: float = 0.0, **more: object) -> dict[str, object]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        command = {"do": what, "first": numbers.start, "count": len(numbers), "step": numbers.step, "within": within, **more}
        self._process.stdin.write(json.dumps(command).encode() + b"\n")
        async with asyncio.timeout(within + _ANSWER_S):
            await self._process.stdin.drain()
            line = await self._process.stdout.readline()
        if not line:
            raise SwarmFault(f"the swarm ended while it was told to {what}")
        found: dict[str, object] = json.loads(line)
        if error := text(found, "error"):
            raise SwarmFault(error)
        return found


@contextlib.asynccontextmanager
async def swarm(size: Size, *, go: bool | None = None) -> AsyncIterator[Swarm]:
    """Yield a swarm of the sidecars of ``size``, none of which is connected yet; ``go``: in that language, or (None) where it is there."""
    in_go = go_programs.go_is_there() if go is None else go
    command = [str(await asyncio.to_thread(go_swarm))] if in_go else [sys.executable, "-m", "tests.bench.python_swarm"]
    piped = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, stdin=piped, stdout=piped, limit=_LINE_BYTES)
    try:
        yield Swarm(process, size, "Go" if in_go else "Python")
    finally:
        process.kill()
        await process.wait()


def _traffic(found: dict[str, object]) -> Traffic:
    totals = section(found, "totals")
    return Traffic(*(number(totals, name) for name in ("responses", "resources", "bytes", "resource_bytes")))


def _arrival(found: dict[str, object], before: Traffic) -> Arrival:
    begun, first, median, last = (float(str(found.get(name, 0.0))) for name in ("begun", "first", "median", "last"))
    return Arrival(begun, first, median, last, _traffic(found).since(before))


if __name__ == "__main__":
    print(go_swarm() if go_programs.go_is_there() else "there is no Go to build the swarm with, so the one in Python is used")
