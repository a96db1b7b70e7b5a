"""A real etcd, as tests register services in it."""

from __future__ import annotations

import base64
import json
import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import httpx

from controlplane.untyped import Json
from tests.support.kube_binaries import needed
from tests.support.processes import Process, free_port, start
from tests.support.waiting import DEADLINE_S, until


class Etcd:
    """One etcd with a data folder of its own."""

    def __init__(self, folder: Path, options: Sequence[str] = (), tls: ssl.SSLContext | None = None) -> None:
        """Keep data in ``folder``; with ``tls`` clients ask by that."""
        self.folder = folder
        self._scheme = "https" if tls else "http"
        self._options = options
        self.port = free_port()
        self._peer = f"http://127.0.0.1:{free_port()}"
        self._client = httpx.AsyncClient(timeout=DEADLINE_S, verify=tls or False)
        self._token = ""
        self.process: Process | None = None

    @property
    def url(self) -> str:
        """Return where it listens."""
        return f"{self._scheme}://{'localhost' if self._scheme == 'https' else '127.0.0.1'}:{self.port}"

    async def start(self, data: str = "data") -> None:
        """Start it, on what is in the folder ``data``."""
        options = {
            "data-dir": self.folder / data,
            "listen-client-urls": f"{self._scheme}://127.0.0.1:{self.port}",
            "advertise-client-urls": self.url,
            "listen-peer-urls": self._peer,
            "initial-advertise-peer-urls": self._peer,
            "initial-cluster": f"default={self._peer}",
            "unsafe-no-fsync": "true",
            "log-level": "error",
        }
        command = [str(needed("etcd")), *(f"--{name}={value}" for name, value in options.items()), *self._options]
        self.process = await start("etcd", command, self.folder)
        await until(self._ready, "etcd", watched=self.process)

    async def stop(self, *, kill: bool = False) -> None:
        """End it."""
        if self.process is not None:
            await self.process.stop(kill=kill)

    async def close(self) -> None:
        """End it, and the connections to it."""
        await self.stop()
        await self._client.aclose()

    async def put(self, key: str, value: object, lease: str = "0") -> None:
        """Give ``key`` the JSON of ``value``, for as long as ``lease`` lasts."""
        await self.ask("/v3/kv/put", {"key": _encoded(key), "value": _encoded(json.dumps(value)), "lease": lease})

    async def register(self, service: str, address: str, metadata: Mapping[str, object] | None = None, lease: str = "0") -> None:
        """Register an instance as gRPC's naming does."""
        await self.put(f"/services/{service}/{address}", {"Op": 0, "Addr": address, "Metadata": metadata}, lease)

    async def delete(self, key: str) -> None:
        """Delete ``key``."""
        await self.ask("/v3/kv/deleterange", {"key": _encoded(key)})

    async def lease(self, seconds: int) -> str:
        """Return a lease of ``seconds``."""
        return str((await self.ask("/v3/lease/grant", {"TTL": str(seconds)}))["ID"])

    async def compact(self) -> None:
        """Throw the history away."""
        header = (await self.ask("/v3/kv/range", {"key": "AA=="}))["header"]
        assert isinstance(header, dict)
        await self.ask("/v3/kv/compaction", {"revision": header["revision"], "physical": True})

    async def require_users(self, password: str) -> None:
        """Let nobody in but root, and the user ``reader`` who may read ``/services/``, both by ``password``."""
        for name in ("root", "reader"):
            await self.ask("/v3/auth/user/add", {"name": name, "password": password})
            await self.ask("/v3/auth/role/add", {"name": name})
            await self.ask("/v3/auth/user/grant", {"user": name, "role": name})
        permission = {"permType": "READ", "key": _encoded("/services/"), "range_end": _encoded("/services0")}
        await self.ask("/v3/auth/role/grant", {"name": "reader", "perm": permission})
        await self.ask("/v3/auth/enable", {})
        self._token = str((await self.ask("/v3/auth/authenticate", {"name": "root", "password": password}))["token"])

    async def ask(self, path: str, body: Mapping[str, object]) -> Json:
        """Return the answer to a POST of ``body``."""
        headers = {"Authorization": self._token} if self._token else {}
        answer = await self._client.post(self.url + path, json=body, headers=headers)
        assert answer.status_code == 200, (path, answer.text)
        found = answer.json()
        assert isinstance(found, dict)
        return found

    async def _ready(self) -> bool:
        try:
            return (await self._client.get(f"{self.url}/health")).status_code == 200
        except httpx.HTTPError:
            return False


@asynccontextmanager
async def etcd(folder: Path, options: Sequence[str] = (), tls: ssl.SSLContext | None = None) -> AsyncIterator[Etcd]:
    """Yield an etcd that keeps its data below ``folder``; end it with the block."""
    folder.mkdir(parents=True, exist_ok=True)
    server = Etcd(folder, options, tls)
    try:
        await server.start()
        yield server
    finally:
        await server.close()


def _encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
