"""A machine outside Kubernetes; all there is to its Envoy comes from ``navarch bootstrap``."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from dataclasses import dataclass
from pathlib import Path

import httpx

from tests.support.processes import Process, envoy_binary, start
from tests.support.secure_control_plane import Secure


@dataclass
class Machine:
    """A machine with an address of its own; it finds the control plane at ``xds``, or where that listens.

    Envoy is started by ``command``, and connections come to it as ``interception`` says.
    """

    name: str
    ip: str
    folder: Path
    plane: Secure
    xds: str = ""
    interception: str = "NONE"
    command: tuple[str, ...] = ()
    process: Process | None = None

    async def prepare(self, *options: str) -> None:
        """Write the bootstrap, and the token and the roots as somebody copies them to a machine."""
        self.folder.mkdir(mode=0o755)
        (self.folder / "token").write_text(self.plane.token(account=self.name))
        (self.folder / "root-cert.pem").write_bytes(self.plane.roots)
        where = self.xds or str(self.plane.running.at.xds_tls)
        told = ("--xds", where, "--server-name", "localhost", "--ip", self.ip, "--name", f"{self.name}-1")
        files = ("--token", f"{self.folder}/token", "--roots", f"{self.folder}/root-cert.pem", "--out", str(self.folder))
        watched = ("--admin", f"{self.ip}:15000", "--status", self.ip, "--interception", self.interception)
        command = (sys.executable, "-m", "controlplane.cli.main", "bootstrap", *told, *files, *watched, *options)
        process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.DEVNULL)
        assert await process.wait() == 0

    async def start(self) -> None:
        """Start Envoy."""
        options = ("--use-dynamic-base-id", "--concurrency", "1", "--log-level", "warning", "--drain-time-s", "2")
        command = self.command or (envoy_binary(),)
        self.process = await start(self.name, [*command, "-c", str(self.folder / "envoy.json"), *options], self.folder)

    async def ready(self) -> bool:
        """Return whether it says that it is ready."""
        with contextlib.suppress(httpx.HTTPError):
            async with httpx.AsyncClient(timeout=1.0) as client:
                return (await client.get(f"http://{self.ip}:15021/healthz/ready")).status_code == 200
        return False
