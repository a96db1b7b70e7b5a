"""Clients that read pages of an HTTP server in a loop, in a process of their own: ``python -m tests.support.readers URL...``.

There is one client for each URL. They read until standard input ends, and then print as JSON how many answers there were by
page and status, and the bytes of all.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import threading
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from http.client import HTTPConnection
from urllib.parse import urlsplit

from tests.support.waiting import DEADLINE_S


class Readings:
    """What clients were answered."""

    def __init__(self) -> None:
        self.answers: Counter[str] = Counter()  # by page and status
        self.bytes = 0


@contextlib.asynccontextmanager
async def reading(urls: Sequence[str]) -> AsyncIterator[Readings]:
    """Have a client for each of ``urls`` read until the block ends; then what they were answered is there."""
    readings = Readings()
    command = (sys.executable, "-m", __name__, *urls)
    process = await asyncio.create_subprocess_exec(*command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    try:
        async with asyncio.timeout(DEADLINE_S):
            assert await process.stdout.readline() == b"reading\n"
        yield readings
        async with asyncio.timeout(DEADLINE_S):
            output, _ = await process.communicate(b"")
        found = json.loads(output)
        readings.answers.update(found["answers"])
        readings.bytes += found["bytes"]
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def _read(url: str, readings: Readings, lock: threading.Lock, begun: threading.Semaphore, end: threading.Event) -> None:
    """Read ``url`` until ``end``."""
    parts = urlsplit(url)
    connection = HTTPConnection(parts.netloc, timeout=DEADLINE_S)
    while not end.is_set():
        connection.request("GET", f"{parts.path}?{parts.query}" if parts.query else parts.path)
        answer = connection.getresponse()
        size = len(answer.read())
        with lock:
            readings.answers[f"{parts.path} {answer.status}"] += 1
            readings.bytes += size
        begun.release()
    connection.close()


def main(urls: Sequence[str]) -> None:
    """Read ``urls`` until standard input ends."""
    readings, lock, begun, end = Readings(), threading.Lock(), threading.Semaphore(0), threading.Event()
    clients = [threading.Thread(target=_read, args=(url, readings, lock, begun, end)) for url in urls]
    for client in clients:
        client.start()
    for _ in clients:
        begun.acquire()
    print("reading", flush=True)
    sys.stdin.read()
    end.set()
    for client in clients:
        client.join()
    print(json.dumps({"answers": readings.answers, "bytes": readings.bytes}))


if __name__ == "__main__":
    main(sys.argv[1:])
