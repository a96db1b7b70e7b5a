"""A real Zipkin for tests: its jar is fetched once by Maven and kept, and Java runs it.

`python -m tests.support.zipkin_servers` fetches it and says where it is.
"""

from __future__ import annotations

import contextlib
import fcntl
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from tests.support.caches import cache_root
from tests.support.processes import Process, start
from tests.support.waiting import DEADLINE_S, until

VERSION = "3.4.4"
ARTIFACT = f"io.zipkin:zipkin-server:{VERSION}:jar:exec"
NAME = f"zipkin-server-{VERSION}-exec.jar"
HOW = "install a Java runtime (17) and Maven, and run: python -m tests.support.zipkin_servers"
Json = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class ZipkinServer:
    """A running Zipkin."""

    address: str
    port: int
    process: Process

    async def spans(self) -> list[Json]:
        """Return the spans that it has."""
        async with httpx.AsyncClient(timeout=DEADLINE_S) as client:
            answer = await client.get(f"http://{self.address}:{self.port}/api/v2/traces", params={"limit": 1000})
        return [span for trace in answer.json() for span in trace]


@contextlib.asynccontextmanager
async def zipkin_server(folder: Path, address: str, port: int) -> AsyncIterator[ZipkinServer]:
    """Yield a Zipkin at ``port`` of ``address``; skip the test where there can be none."""
    own = [f"--armeria.ports[0].{name}={value}" for name, value in (("ip", address), ("port", port), ("protocols[0]", "http"))]
    process = await start("zipkin", [_java(), "-Xmx192m", "-XX:TieredStopAtLevel=1", "-jar", str(_jar()), *own], folder)
    server = ZipkinServer(address, port, process)
    try:
        await until(lambda: _is_healthy(server), "Zipkin is healthy", watched=process)
        yield server
    finally:
        await process.stop()


async def _is_healthy(server: ZipkinServer) -> bool:
    try:
        async with httpx.AsyncClient(timeout=DEADLINE_S) as client:
            return (await client.get(f"http://{server.address}:{server.port}/health")).is_success
    except httpx.TransportError:
        return False


def _java() -> str:
    found = shutil.which("java")
    if found is None:
        pytest.skip(f"not run: there is no java on the PATH; {HOW}")
    return found


def _jar() -> Path:
    if failure := _fetched():
        pytest.skip(f"not run: Zipkin's jar is not there: {failure}; {HOW}")
    return _place()


def _place() -> Path:
    return cache_root() / f"zipkin-{VERSION}" / NAME


def _fetched() -> str:
    """Fetch the jar, unless it is there; return why not, empty where it is."""
    jar = _place()
    jar.parent.mkdir(parents=True, exist_ok=True)
    with (jar.parent / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if jar.is_file():
            return ""
        maven = shutil.which("mvn")
        if maven is None:
            return "there is no mvn on the PATH"
        part = jar.parent / "part"
        command = [maven, "-q", "-B", "dependency:copy", f"-Dartifact={ARTIFACT}", f"-DoutputDirectory={part}"]
        done = subprocess.run(command, cwd=jar.parent, capture_output=True, text=True, check=False)
        if done.returncode:
            return (done.stdout + done.stderr).strip()[-300:]
        (part / NAME).rename(jar)
        return ""


def main() -> None:
    """Fetch the jar, and say where it is."""
    failure = _fetched()
    if failure:
        sys.exit(f"Zipkin's jar is not there: {failure}; {HOW}")
    print(_place())


if __name__ == "__main__":
    main()
