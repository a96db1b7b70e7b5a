"""Probes of one container, as a kubelet asks them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

from controlplane.untyped import Json, number, section, text


class Probing:
    """What the probes of a container have found."""

    def __init__(self, container: Json, ip: str) -> None:
        """Probe ``container`` of the pod at ``ip``."""
        self.started = asyncio.Event()
        self.ready = asyncio.Event()
        self._container = container
        self._ip = ip

    def reset(self) -> None:
        """Begin anew: the container has ended."""
        self.started.clear()
        self.ready.clear()

    async def run(self, kill: Callable[[], None]) -> None:
        """Ask without end; ``kill`` ends the container when it no longer lives."""
        failures = {"livenessProbe": 0, "readinessProbe": 0}
        while True:
            if not self.started.is_set():
                startup = section(self._container, "startupProbe")
                if not startup or await self._asked(startup):
                    self.started.set()
                else:
                    await asyncio.sleep(0.1)
                continue
            for name, before in failures.items():
                probe = section(self._container, name)
                failures[name] = 0 if not probe or await self._asked(probe) else before + 1
            if not failures["readinessProbe"]:
                self.ready.set()
            elif failures["readinessProbe"] >= (number(section(self._container, "readinessProbe"), "failureThreshold") or 3):
                self.ready.clear()
            if failures["livenessProbe"] >= (number(section(self._container, "livenessProbe"), "failureThreshold") or 3):
                failures["livenessProbe"] = 0
                kill()
            await asyncio.sleep(0.1 if not self.ready.is_set() else 0.5)  # more often than asked for: tests are in a hurry

    async def _asked(self, probe: Json) -> bool:
        within_s = number(probe, "timeoutSeconds") or 1
        if get := section(probe, "httpGet"):
            return 200 <= await ask(self._ip, get, within_s) < 400
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(within_s):
                _, writer = await asyncio.open_connection(self._ip, number(section(probe, "tcpSocket"), "port"))
                writer.close()
                return True
        return False


async def ask(ip: str, get: Json, within_s: float) -> int:
    """Return the status of a GET as ``get`` describes it, 0 where nobody answers."""
    host, port, path = text(get, "host") or ip, number(get, "port"), text(get, "path") or "/"
    with contextlib.suppress(OSError, TimeoutError, ValueError, IndexError):
        async with asyncio.timeout(within_s):
            reader, writer = await asyncio.open_connection(host, port)
            try:
                writer.write(
                    f"GET {path} HTTP/1.1\r\nHost: {ip}:{port}\r\nUser-Agent: kube-probe/1.36\r\nConnection: close\r\n\r\n".encode()
                )
                return int((await reader.readline()).split()[1])
            finally:
                writer.close()
    return 0
