"""``python -m tests.support.authority_writer STEP FOLDER…``: take the authority in each folder a STEP further, or make a key.

Whoever writes dies at the point that the folder is called by; how each ended is printed.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from controlplane.app.identity import SIGNING_KEY_FILE
from controlplane.ca.file_store import FileStore
from controlplane.ca.manager import AuthorityManager, stored_key
from controlplane.ca.rotation import AuthorityState, activate, new_issuer, prepare, retire
from controlplane.serve.identity import make_key, now

KEY = "key"  # of tokens: it is made, and never another
STEPS: dict[str, Callable[[AuthorityState], AuthorityState]] = {
    "begin": lambda state: state,
    "prepare": lambda state: prepare(state, new_issuer(make_key(), now())),
    "activate": lambda state: activate(state, 0),
    "retire": lambda state: retire(state, 0),
}


async def main(folder: Path, step: str, fatal: str) -> None:
    """Do it."""
    os.umask(0)

    def reached(point: str) -> None:
        if point == fatal:
            os.kill(os.getpid(), signal.SIGKILL)

    if step == KEY:
        await stored_key(FileStore(folder, SIGNING_KEY_FILE, reached), make_key)
        return
    keeper = AuthorityManager(FileStore(folder, reached=reached), make_key, now)
    await keeper.open()
    if step != "begin":
        await keeper.step(STEPS[step])


def killed(folder: Path, step: str, point: str) -> int:
    """Do it in a process of its own, and return how that ended: by which signal, less than 0."""
    child = os.fork()  # nothing runs here yet that a fork would tear apart
    if child == 0:
        asyncio.run(main(folder, step, point))
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


if __name__ == "__main__":
    for each in sys.argv[2:]:
        print(killed(Path(each), sys.argv[1], Path(each).name.replace("-", " ")))
