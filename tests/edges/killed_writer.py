"""``python -m tests.edges.killed_writer FOLDER STEP POINT``: take the authority one STEP further, and die at POINT of the writing."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from controlplane.ca.folder import Folder
from controlplane.ca.keeper import Keeper
from controlplane.ca.state import State, activate, issuer, prepare, retire
from controlplane.serve.trust import make_key, now

STEPS: dict[str, Callable[[State], State]] = {
    "begin": lambda state: state,
    "prepare": lambda state: prepare(state, issuer(make_key(), now())),
    "activate": lambda state: activate(state, 0),
    "retire": lambda state: retire(state, 0),
}


async def main(folder: Path, step: str, fatal: str) -> None:
    """Do it."""
    os.umask(0)

    def reached(point: str) -> None:
        if point == fatal:
            os.kill(os.getpid(), signal.SIGKILL)

    keeper = Keeper(Folder(folder, reached=reached), make_key, now)
    await keeper.open()
    if step != "begin":
        await keeper.step(STEPS[step])


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2], sys.argv[3]))
