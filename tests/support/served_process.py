"""``navarch serve`` as a process that is sent a signal: how it ends, and after how long."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.support.cli import NAVARCH
from tests.support.waiting import DEADLINE_S, until

ANYWHERE = ("--xds", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--log-format", "json")


@dataclass(frozen=True)
class Ended:
    """How a process has ended."""

    status: int
    seconds: float  # after the signal
    said: str  # on standard error


class ServedProcess:
    """One process."""

    def __init__(self, process: asyncio.subprocess.Process, log: Path) -> None:
        self.name = "navarch"
        self._process = process
        self._log = log

    @property
    def alive(self) -> bool:
        """Return whether it still runs."""
        return self._process.returncode is None

    def last_words(self) -> str:
        """Return what it has said on standard error."""
        return self._log.read_text()

    def minds(self, number: signal.Signals) -> bool:
        """Return whether it does something of its own when it is sent the signal ``number``."""
        lines = Path(f"/proc/{self._process.pid}/status").read_text().splitlines()
        [caught] = [line.split()[1] for line in lines if line.startswith("SigCgt:")]
        return bool(int(caught, 16) >> (number - 1) & 1)

    def events(self) -> list[str]:
        """Return the events that it has logged."""
        lines = self._log.read_text().splitlines()
        return [str(json.loads(line)["event"]) for line in lines if line.startswith("{") and line.endswith("}")]

    async def logs(self, event: str) -> None:
        """Wait until it has logged ``event``."""
        await until(lambda: event in self.events(), event, watched=self)

    async def ended_by(self, number: signal.Signals = signal.SIGTERM) -> Ended:
        """Send it the signal ``number``, and wait until it has ended."""
        began = time.monotonic()
        self._process.send_signal(number)
        async with asyncio.timeout(DEADLINE_S):
            status = await self._process.wait()
        return Ended(status, time.monotonic() - began, self._log.read_text())

    async def kill(self) -> None:
        """End it, if it still runs."""
        if self.alive:
            self._process.kill()
            await self._process.wait()


@contextlib.asynccontextmanager
async def served(folder: Path, *options: str, environment: Mapping[str, str] | None = None) -> AsyncIterator[ServedProcess]:
    """Run ``navarch serve`` with ``options`` at addresses that are free; its log is in ``folder``. It has ended when the block has."""
    log = folder / "serve.log"
    with log.open("wb") as file:
        process = await asyncio.create_subprocess_exec(
            *(*NAVARCH, "serve", *ANYWHERE, *options),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=file,
            env={**os.environ, **(environment or {})},
            start_new_session=True,
        )
    found = ServedProcess(process, log)
    try:
        yield found
    finally:
        await found.kill()
