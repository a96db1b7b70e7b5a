"""What tests start ends with them, however they end.

Whatever is started inherits a mark in its environment. A guard, a process of its own, waits until the process that runs the tests is gone,
be it killed, and ends everything with that mark; ``ended_with`` does so with what was started within a block.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

MARK = "NAVARCH_STARTED_BY"  # of a process that runs tests
_BLOCK = "NAVARCH_STARTED_IN"  # of a block of a test


def guarded() -> int:
    """Mark what this process starts from now on; return what keeps the guard waiting, which nobody inherits."""
    mark = f"{os.getpid()}-{uuid.uuid4().hex}"
    reading, writing = os.pipe()
    command = [sys.executable, "-S", __file__, mark]
    unmarked = {name: value for name, value in os.environ.items() if name != MARK}  # no other guard is to end this one
    subprocess.Popen(command, stdin=reading, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True, env=unmarked)
    os.close(reading)
    os.environ[MARK] = mark
    return writing


@contextlib.contextmanager
def ended_with() -> Iterator[None]:
    """End what is started within the block, and what that has started, when the block ends."""
    mark = uuid.uuid4().hex
    os.environ[_BLOCK] = mark
    try:
        yield
    finally:
        del os.environ[_BLOCK]
        end_marked(_BLOCK, mark)


def end_marked(name: str, mark: str) -> None:
    """Kill every process whose environment began with ``name=mark``, until there is none."""
    wanted = f"{name}={mark}".encode()
    while left := [pid for pid in _processes() if wanted in _environment(pid)]:
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.02)


def _processes() -> list[int]:
    return [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit() and int(path.name) != os.getpid()]


def _environment(pid: int) -> list[bytes]:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")  # nothing, where it is a zombie
    except OSError:
        return []  # it ended meanwhile, or is somebody else's


def _remove_namespaces(owner: str) -> None:
    places = Path("/run/netns")
    for name in [path.name for path in places.iterdir()] if places.is_dir() else []:
        if name.startswith(f"nv{owner}-"):  # tests.support.network_namespaces
            subprocess.run(["ip", "netns", "delete", name], check=False)


def main(mark: str) -> None:
    """Wait until whoever holds the other end is gone, and end what it has left."""
    sys.stdin.buffer.read()
    end_marked(MARK, mark)
    _remove_namespaces(mark.partition("-")[0])


if __name__ == "__main__":
    main(sys.argv[1])
