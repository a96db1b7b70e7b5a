"""The gateway of the demo: an Envoy at the edge of its mesh, and what clients outside know of it."""

from __future__ import annotations

import asyncio
import datetime as dt
import ssl
from pathlib import Path

import httpx

from controlplane.ca.certificates import Authority, authority, serving
from controlplane.demo.processes import Process, Sidecar
from controlplane.model.proxies import ProxyType
from controlplane.serve.trust import make_key, now

NAME = "ingress"
HOST = "bookinfo.example"
PORTS = {"http": 8080, "https": 8443}  # where it listens
_LIFETIME = dt.timedelta(hours=1)


class Gateway:
    """An Envoy at the loopback address ``ip``."""

    def __init__(self, ip: str, folder: Path) -> None:
        """Prepare a gateway at ``ip`` whose certificate is in ``folder``."""
        self.ip = ip
        self.folder = folder / f"{NAME}-certificate"
        self.process: Process | None = None
        self._authority: Authority | None = None

    @property
    def certificate(self) -> Path:
        """Return the file with its certificate."""
        return self.folder / "tls.crt"

    @property
    def key(self) -> Path:
        """Return the file with its key."""
        return self.folder / "tls.key"

    def proxy(self, namespace: str) -> Sidecar:
        """Return the Envoy to start, without credentials."""
        return Sidecar(name=NAME, ip=self.ip, labels={"app": NAME}, namespace=namespace, account=NAME, kind=ProxyType.ROUTER)

    async def make_certificate(self) -> None:
        """Have a certificate made for its host, by an authority that clients outside know and the mesh does not."""
        issuer = authority("outside of the mesh", await asyncio.to_thread(make_key), now(), _LIFETIME)
        pair = serving(issuer, (HOST,), await asyncio.to_thread(make_key), now(), _LIFETIME)
        self.folder.mkdir()
        self.certificate.write_bytes(pair.certificate)
        self.key.touch(mode=0o600)
        self.key.write_bytes(pair.key)
        self._authority = issuer

    def trusted(self) -> ssl.SSLContext:
        """Return what clients outside believe: the authority of its certificate."""
        return ssl.create_default_context(cadata=self._authority.pem.decode() if self._authority else None)

    def client(self, trusted: ssl.SSLContext) -> httpx.AsyncClient:
        """Return a client for URLs of its hosts, wherever DNS would lead, that believes whom ``trusted`` says."""
        return httpx.AsyncClient(transport=_Outside(self.ip, trusted), timeout=10.0)

    async def listens(self) -> bool:
        """Return whether it listens."""
        try:
            for port in PORTS.values():
                _, writer = await asyncio.open_connection(self.ip, port)
                writer.close()
        except OSError:
            return False
        return True


class _Outside(httpx.AsyncHTTPTransport):
    """Connects to the gateway for every host, as DNS and a load balancer would."""

    def __init__(self, ip: str, trusted: ssl.SSLContext) -> None:
        super().__init__(verify=trusted, limits=httpx.Limits(max_connections=64, max_keepalive_connections=64))
        self._ip = ip

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        request.extensions["sni_hostname"] = request.url.host
        request.url = request.url.copy_with(host=self._ip, port=PORTS[request.url.scheme])
        return await super().handle_async_request(request)
