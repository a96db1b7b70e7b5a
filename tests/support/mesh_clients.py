"""Who asks the workloads of a mesh: connections by TLS with certificates of the mesh's own authority, so that a test can be anybody."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import datetime as dt
import http.client
import io
import json
import socket
import ssl
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from cryptography.hazmat.primitives.asymmetric import ec

from controlplane.ca.certificates import key_pem, workload_certificate
from controlplane.ca.rotation import AuthorityState
from controlplane.model.identity import Identity
from tests.support.waiting import DEADLINE_S

HTTP, TCP = 9080, 9090
FRIEND = Identity("cluster.local", "shop", "friend")
STRANGER = Identity("cluster.local", "elsewhere", "stranger")
_HOUR = dt.timedelta(hours=1)


@dataclass(frozen=True)
class Answer:
    """What came back: a status (0: the connection was closed), headers, and what the application saw of the request."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    seen: Mapping[str, str] = field(default_factory=dict)


class MeshClients(ABC):
    """Clients at addresses of ``network``, whose workloads are there too."""

    def __init__(self, folder: Path, network: str) -> None:
        self.folder = folder
        self.network = network
        self.target = 11  # of ``network``: the workload that is asked
        self._contexts: dict[Identity | None, ssl.SSLContext] = {}

    def at(self, target: int) -> Self:
        """Return the same clients, as they ask the workload at ``network.target``."""
        others = copy.copy(self)
        others.target = target
        return others

    @property
    @abstractmethod
    def authority(self) -> AuthorityState:
        """Return the authority of the mesh."""

    async def ask(
        self,
        path: str = "/",
        *,
        who: Identity | None = FRIEND,
        method: str = "GET",
        headers: Mapping[str, str] | None = None,
        host: str = "web.shop",
        port: int = HTTP,
        source: int = 31,
    ) -> Answer:
        """Make a request as ``who``, ``None`` in plaintext, from the address ``network.source``."""
        lines = [f"{method} {path} HTTP/1.1", f"Host: {host}", "Connection: close", *(f"{k}: {v}" for k, v in (headers or {}).items())]
        data = await self.talk("\r\n".join([*lines, "", ""]).encode(), who=who, port=port, source=source)
        if not data:
            return Answer(0)
        found = http.client.HTTPResponse(_Read(data), method=method)
        found.begin()
        body = found.read()
        seen = json.loads(body) if found.status == 200 and body else {}
        return Answer(found.status, {name.lower(): value for name, value in found.getheaders()}, seen)

    async def talk(self, data: bytes, *, who: Identity | None = FRIEND, port: int = TCP, source: int = 31) -> bytes:
        """Return what comes back for ``data``, nothing where the connection is closed instead."""
        found, writer = bytearray(), None
        with contextlib.suppress(OSError):
            async with asyncio.timeout(DEADLINE_S):
                reader, writer = await asyncio.open_connection(
                    f"{self.network}.{self.target}",
                    port,
                    local_addr=(f"{self.network}.{source}", 0),
                    ssl=self._context(who) if who else None,
                    server_hostname="web" if who else None,
                )
                writer.write(data)
                if port == TCP:
                    found += await reader.read(len(data))
                else:
                    while piece := await reader.read(65536):
                        found += piece
        if writer is not None:
            writer.transport.abort()
        return bytes(found)

    def _context(self, who: Identity) -> ssl.SSLContext:
        if who not in self._contexts:
            context = ssl.create_default_context(cadata=self.authority.bundle.decode())
            context.check_hostname = False  # the server's name is a URI
            context.set_alpn_protocols(["istio-http/1.1", "istio"])
            key = ec.generate_private_key(ec.SECP256R1())
            chain = workload_certificate(self.authority.signing.signer, who, key.public_key(), dt.datetime.now(dt.UTC), _HOUR)
            (self.folder / "own.pem").write_bytes(chain + key_pem(key))
            context.load_cert_chain(self.folder / "own.pem")
            self._contexts[who] = context
        return self._contexts[who]


class _Read(socket.socket):
    """A socket on which everything has been read already."""

    def __init__(self, data: bytes) -> None:
        super().__init__()
        self.close()
        self._data = data

    def makefile(self, *_: object, **__: object) -> io.BytesIO:  # type: ignore[override]
        return io.BytesIO(self._data)
