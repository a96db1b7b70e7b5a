"""A Consul server that keeps nothing, and a folder of manifests that is served beside it."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import httpx

from controlplane.demo.apps import SERVICE_PORT, AppInstance
from controlplane.demo.ports import free_port
from controlplane.demo.processes import PATIENCE_S, NotReady, Process, start, until
from controlplane.demo.stores import FolderManifests

_BINARY = "NAVARCH_CONSUL"


def consul_binary() -> str:
    """Return the path of Consul: as the environment says, or one on the path. Raises NotReady."""
    path = os.environ.get(_BINARY) or shutil.which("consul")
    if not path or not os.access(path, os.X_OK):
        raise NotReady(f"there is no Consul on the PATH, and {_BINARY} names none")
    return path


class DemoConsul:
    """A Consul on this machine."""

    def __init__(self, folder: Path, binary: str) -> None:
        """Have ``binary`` keep its log in ``folder``."""
        self._folder = folder
        self._binary = binary
        self._ports = {"http": free_port(), "serf_lan": free_port(), "server": free_port()}
        self.url = f"http://127.0.0.1:{self._ports['http']}"
        self._client = httpx.AsyncClient(base_url=self.url, timeout=PATIENCE_S)
        self._process: Process | None = None

    async def start(self) -> None:
        """Start it; it has a leader when this returns. Raises NotReady."""
        config = self._folder / "consul.json"
        unused = dict.fromkeys(("grpc", "grpc_tls", "dns", "serf_wan"), -1)
        address = {"bind_addr": "127.0.0.1", "client_addr": "127.0.0.1", "ports": {**self._ports, **unused}}
        config.write_text(json.dumps({"disable_update_check": True, "performance": {"raft_multiplier": 1}, **address}))
        options = ["agent", "-dev", "-node", "demo", "-log-level", "warn", "-config-file", str(config)]
        self._process = await start("consul", [self._binary, *options], self._folder)
        await until("Consul has a leader", self._is_led, seconds=PATIENCE_S, watched=self._process)

    async def stop(self) -> None:
        """End it."""
        await self._client.aclose()
        if self._process is not None:
            await self._process.stop(kill=True)

    async def register(self, name: str, instance: AppInstance, identity: str) -> None:
        """Register ``instance``, whose certificate says ``identity``, as one of the service ``name``, with a check that passes."""
        body = {
            "ID": f"{name}-{instance.name}",
            "Name": name,
            "Address": instance.ip,
            "Port": SERVICE_PORT,
            "Meta": {"protocol": "http", "version": instance.version, "identity": identity},
            "Check": {"TTL": "1h", "Status": "passing"},
        }
        await self._put("/v1/agent/service/register", body)

    async def check(self, name: str, instance: AppInstance, verdict: str) -> None:
        """Have the check of ``instance`` of the service ``name`` ``pass`` or ``fail``."""
        await self._put(f"/v1/agent/check/{verdict}/service:{name}-{instance.name}")

    async def _put(self, path: str, body: Mapping[str, object] | None = None) -> None:
        answer = await self._client.put(path, json=body)
        if not answer.is_success:
            raise NotReady(f"Consul answers {answer.status_code} to {path}: {answer.text[:200]}")

    async def _is_led(self) -> bool:
        try:
            return bool((await self._client.get("/v1/status/leader")).json())
        except (httpx.HTTPError, ValueError):
            return False


class ManifestsBesideConsul(FolderManifests):
    """A folder of YAML files, which is served beside a Consul."""

    def __init__(self, folder: Path, binary: str) -> None:
        """Keep manifests in ``folder``, which is made; Consul is ``binary``."""
        super().__init__(folder)
        self.consul = DemoConsul(folder.parent, binary)

    def serve(self, replica: str) -> Sequence[str]:
        """Return the options by which the control plane ``replica`` reads it: all of them alike."""
        return (*super().serve(replica), "--consul", self.consul.url)

    async def open(self) -> None:
        """Start Consul. Raises NotReady."""
        await super().open()
        await self.consul.start()

    async def close(self) -> None:
        """End Consul."""
        await super().close()
        await self.consul.stop()
