"""The swarm in Python, for machines without Go: ``python -m tests.bench.python_swarm`` takes the commands of that in ``swarm/``."""

from __future__ import annotations

import asyncio
import base64
import json
import sys
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import uvloop

from controlplane.untyped import number, section, text
from tests.bench.sidecars import Seen, Sidecar

_LEAVING_S = 30.0


@dataclass(eq=False)
class Moments:
    """The times at which sidecars came to something, until so many have."""

    left: int
    times: list[float] = field(default_factory=list)
    done: asyncio.Event = field(default_factory=asyncio.Event)

    def note(self, at: float) -> None:
        """Note that one has."""
        self.times.append(at)
        self.left -= 1
        if not self.left:
            self.done.set()


@dataclass(eq=False)
class Expectation:
    """Each of some sidecars gets a resource with ``mark`` in its bytes, or (``removed``) hears that it is gone."""

    numbers: set[int]
    type_url: str
    name: str
    mark: bytes
    removed: bool
    moments: Moments

    def meets(self, number: int, found: Seen) -> bool:
        """Return whether ``found`` is that, and the first time for this sidecar."""
        if number not in self.numbers or found.type_url != self.type_url:
            return False
        return self.name in found.removed if self.removed else self.mark in found.bodies.get(self.name, b"") and self.name in found.names


class PythonSwarm:
    """All simulated sidecars, and what they are waited for."""

    def __init__(self) -> None:
        self._sidecars: dict[int, Sidecar] = {}
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._joining = Moments(0)
        self._expected: Expectation | None = None
        self._totals = {"responses": 0, "resources": 0, "bytes": 0, "resource_bytes": 0}
        self._recorded: dict[str, list[bytes]] = defaultdict(list)
        self._changes: dict[str, bytes] = {}

    def count(self, number: int, found: Seen, payload: bytes, *, configured: bool) -> None:
        """Count a response; those of the first sidecar are recorded until it is configured."""
        self._totals["responses"] += 1
        self._totals["resources"] += len(found.names) + len(found.removed)
        self._totals["bytes"] += len(payload)
        self._totals["resource_bytes"] += found.resource_bytes
        if number == 0 and not configured:
            self._recorded[found.type_url].append(payload)

    def configured(self, at: float) -> None:
        """Note that one more sidecar has its whole configuration."""
        self._joining.note(at)

    def changed(self, number: int, found: Seen, payload: bytes, at: float) -> None:
        """Note a response where it is what is expected."""
        expected = self._expected
        if expected is not None and expected.meets(number, found):
            expected.numbers.remove(number)
            self._changes[found.type_url] = payload
            expected.moments.note(at)

    async def do(self, command: dict[str, object]) -> dict[str, object]:
        """Return the answer to ``command``."""
        acts: dict[str, Callable[[dict[str, object]], Awaitable[dict[str, object]]]] = {
            "connect": self._connect,
            "leave": self._leave,
            "expect": self._expect,
            "await": self._await,
            "pause": self._pause,
            "resume": self._resume,
            "save": self._save,
            "totals": self._nothing,
        }
        try:
            return {**await acts[text(command, "do")](command), "totals": self._totals}
        except (EOFError, TimeoutError) as error:
            return {"error": str(error), "totals": self._totals}

    async def _connect(self, command: dict[str, object]) -> dict[str, object]:
        begun, meant, again = time.perf_counter(), _numbers(command), command.get("again") is True
        self._joining = Moments(len(meant))
        if 0 in meant and not again:
            self._recorded.clear()
        addresses = command["addresses"]
        assert isinstance(addresses, list)
        for each in meant:
            if not again or each not in self._sidecars:
                self._sidecars[each] = Sidecar(each, number(command, "namespaces"), number(command, "least"), self)
            running = self._sidecars[each].run(addresses[each % len(addresses)], again=again)
            self._tasks[each] = asyncio.create_task(running)
        waiting = (str(self._sidecars[each]) for each in meant if not self._sidecars[each].is_configured)
        return {"begun": begun, **await self._wait(self._joining, command, waiting)}

    async def _leave(self, command: dict[str, object]) -> dict[str, object]:
        leaving = [self._tasks.pop(each) for each in _numbers(command) if each in self._tasks]
        for task in leaving:
            task.cancel()
        if leaving:
            await asyncio.wait(leaving, timeout=_LEAVING_S)
        return {}

    async def _expect(self, command: dict[str, object]) -> dict[str, object]:
        meant = set(_numbers(command))
        mark, removed = base64.b64decode(text(command, "mark")), command.get("removed") is True
        self._expected = Expectation(meant, text(command, "type_url"), text(command, "name"), mark, removed, Moments(len(meant)))
        return {}

    async def _await(self, command: dict[str, object]) -> dict[str, object]:
        expected = self._expected
        assert expected is not None
        return await self._wait(expected.moments, command, iter((expected.name,)))

    async def _pause(self, command: dict[str, object]) -> dict[str, object]:
        for each in _numbers(command):
            self._sidecars[each].gate.clear()
        return {}

    async def _resume(self, command: dict[str, object]) -> dict[str, object]:
        for each in _numbers(command):
            self._sidecars[each].gate.set()
        return {}

    async def _save(self, command: dict[str, object]) -> dict[str, object]:
        folder = Path(text(command, "folder"))
        for type_url, payloads in self._recorded.items():
            for at, payload in enumerate(payloads):
                (folder / f"{type_url.rpartition('.')[2]}.{at:03}.first").write_bytes(payload)
        for type_url, payload in self._changes.items():
            (folder / f"{type_url.rpartition('.')[2]}.change").write_bytes(payload)
        return {}

    async def _nothing(self, _: dict[str, object]) -> dict[str, object]:
        return {}

    async def _wait(self, moments: Moments, command: dict[str, object], waiting: Iterable[str]) -> dict[str, object]:
        seconds = float(str(command["within"]))
        done = asyncio.create_task(moments.done.wait())
        ended, _ = await asyncio.wait([done, *self._tasks.values()], timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        if done not in ended:
            done.cancel()
            for task in ended:
                task.result()
            raise TimeoutError(f"{moments.left} sidecars are still waiting after {seconds:g} s: {next(iter(waiting), '')}")
        times = sorted(moments.times)
        return {"first": times[0], "median": times[len(times) // 2], "last": times[-1]}


def _numbers(command: dict[str, object]) -> range:
    first, step = number(command, "first"), number(command, "step") or 1
    return range(first, first + number(command, "count") * step, step)


async def main() -> None:
    """Take commands from standard input until it ends."""
    swarm, loop = PythonSwarm(), asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        command = json.loads(line)
        print(json.dumps(await swarm.do(section({"": command}, ""))), flush=True)


if __name__ == "__main__":
    uvloop.run(main())
