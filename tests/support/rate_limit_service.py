"""Envoy's rate limit service with the Redis that it counts in: the service is built once with Go and cached, Redis is on the PATH.

`python -m tests.support.rate_limit_service` builds the service where it is missing (6 minutes on 2 busy cores) and says where it is.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from tests.support import go_programs
from tests.support.processes import Process, free_port, start
from tests.support.waiting import DEADLINE_S, until

_MODULE = Path(__file__).parent / "assets" / "ratelimit"
_PACKAGE = "github.com/envoyproxy/ratelimit/src/service_cmd"
_HOW = "install Go and run: python -m tests.support.rate_limit_service"


def binary() -> Path:
    """Return the service, which is built if it has to be; skip the test where it cannot be had."""
    path = go_programs.kept("ratelimit", _MODULE.glob("go.*")) / "ratelimit"
    if not path.is_file() and not go_programs.go_is_there():
        pytest.skip(f"not run: Envoy's rate limit service is not there; {_HOW}")
    return go_programs.built(path, _MODULE, _PACKAGE, ("-ldflags", "-s -w"))


def redis() -> str:
    """Return the path of Redis; skip the test where there is none."""
    path = shutil.which("redis-server")
    if path is None:
        pytest.skip("not run: there is no redis-server on the PATH; it is in Debian's package of this name")
    return path


@dataclass
class RateLimitService:
    """The service on loopback: proxies ask it at ``port`` of ``host``."""

    folder: Path
    host: str
    settings: Mapping[str, str]  # by which it has its configuration
    port: int = field(default_factory=free_port)
    process: Process | None = None
    _admin: int = field(default_factory=free_port)
    _debug: int = field(default_factory=free_port)

    async def start(self, redis_port: int) -> None:
        """Start it, to count in the Redis at ``redis_port``, and wait until it has its configuration."""
        environment = {
            "USE_STATSD": "false",
            "REDIS_SOCKET_TYPE": "tcp",
            "REDIS_URL": f"127.0.0.1:{redis_port}",
            "HOST": "127.0.0.1",
            "GRPC_HOST": self.host,
            "DEBUG_HOST": "127.0.0.1",
            "PORT": str(self._admin),
            "GRPC_PORT": str(self.port),
            "DEBUG_PORT": str(self._debug),
            "LOG_LEVEL": "debug",
            **self.settings,
        }
        self.process = await start("ratelimit", [str(binary())], self.folder, environment)
        await until(self._healthy, "the rate limit service is healthy", watched=self.process)

    async def limits(self) -> str:
        """Return what it counts, a line for each descriptor."""
        async with httpx.AsyncClient(timeout=DEADLINE_S) as client:
            return (await client.get(f"http://127.0.0.1:{self._debug}/rlconfig")).text

    async def counts(self, wanted: str) -> None:
        """Wait until ``wanted`` is among what it counts."""

        async def holds() -> bool:
            return wanted in await self.limits()

        await until(holds, f"the rate limit service counts {wanted}", watched=self.process)

    async def stop(self) -> None:
        """End it at once."""
        if self.process is not None:
            await self.process.stop(kill=True)

    async def _healthy(self) -> bool:
        try:
            async with httpx.AsyncClient(timeout=DEADLINE_S) as client:
                return (await client.get(f"http://127.0.0.1:{self._admin}/healthcheck")).status_code == 200
        except httpx.TransportError:
            return False


@contextlib.asynccontextmanager
async def running_redis(folder: Path) -> AsyncIterator[int]:
    """Run a Redis that keeps nothing, and yield its port."""
    port = free_port()
    options = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    process = await start("redis", [redis(), *options], folder, {"PATH": os.environ["PATH"]})
    try:
        yield port
    finally:
        await process.stop(kill=True)


if __name__ == "__main__":
    print(binary() if go_programs.go_is_there() else f"it is not there; {_HOW}")
