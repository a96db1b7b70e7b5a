"""A real Consul server that keeps nothing, as processes of tests."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.support.consul.api import ConsulApi
from tests.support.consul.binary import needed
from tests.support.processes import Process, free_port, start


class RealConsul:
    """A Consul agent that is a server with a state in memory."""

    def __init__(self, folder: Path, tls: Path | None = None) -> None:
        self.folder = folder
        self._tls = tls
        self._binary = str(needed())
        self._ports = {"http": free_port(), "serf_lan": free_port(), "server": free_port()}
        self.url = f"http://127.0.0.1:{self._ports['http']}"
        self.api = ConsulApi(self.url)
        self.process: Process | None = None
        if tls is not None:
            self._ports["https"] = free_port()
            self.url = f"https://localhost:{self._ports['https']}"

    async def start(self) -> None:
        """Start it; there is a leader when this returns."""
        off = dict.fromkeys(("grpc", "grpc_tls", "dns", "serf_wan"), -1)
        config: dict[str, object] = {
            "disable_update_check": True,
            "bind_addr": "127.0.0.1",
            "client_addr": "127.0.0.1",
            "ports": {**self._ports, **off},
            "performance": {"raft_multiplier": 1},
            "limits": {"http_max_conns_per_client": 200},
        }
        if self._tls is not None:
            files = {"ca_file": "ca.crt", "cert_file": "tls.crt", "key_file": "tls.key"}
            paths = {name: str(self._tls / file) for name, file in files.items()}
            config["tls"] = {"https": {**paths, "verify_incoming": True}}
        path = self.folder / "consul.json"
        path.write_text(json.dumps(config))
        command = [self._binary, "agent", "-dev", "-node", "n1", "-log-level", "warn", "-config-file", str(path)]
        self.process = await start("consul", command, self.folder)
        await self.api.led()

    async def restart(self) -> None:
        """Let it come back without its state."""
        await self.stop()
        await self.start()

    async def stop(self) -> None:
        """End it at once."""
        if self.process is not None:
            await self.process.stop(kill=True)


@asynccontextmanager
async def real_consul(folder: Path, tls: Path | None = None) -> AsyncIterator[RealConsul]:
    """Yield a Consul that keeps its files in ``folder``, and by HTTPS has what is in ``tls``, and wants as much; end it with the block."""
    folder.mkdir(parents=True, exist_ok=True)
    server = RealConsul(folder, tls)
    try:
        await server.start()
        yield server
    finally:
        await server.stop()
        await server.api.close()
