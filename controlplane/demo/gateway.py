"""The gateway of the demo: an Envoy at the edge of its mesh, and what clients outside know of it."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import ssl

import httpx

from controlplane.ca.certificates import Authority, authority, server_certificate
from controlplane.demo.load import LIMITS
from controlplane.demo.processes import PATIENCE_S, EnvoySpec, Process
from controlplane.model.proxies import ProxyType
from controlplane.serve.identity import make_key, now

NAME = "ingress"
HOST = "bookinfo.example"
CREDENTIAL = "bookinfo"  # the Secret of its certificate
PORTS = {"http": 8080, "https": 8443}  # where it listens
_LIFETIME = dt.timedelta(hours=1)


class DemoGateway:
    """An Envoy at the loopback address ``ip``."""

    def __init__(self, ip: str) -> None:
        """Prepare a gateway at ``ip``."""
        self.ip = ip
        self.process: Process | None = None
        self._authority: Authority | None = None

    def proxy(self, namespace: str) -> EnvoySpec:
        """Return the Envoy to start, without credentials."""
        return EnvoySpec(name=NAME, ip=self.ip, labels={"app": NAME}, namespace=namespace, account=NAME, kind=ProxyType.ROUTER)

    async def certificate(self) -> str:
        """Return a new certificate for its host as a Secret, by an authority that clients outside know and the mesh does not."""
        issuer = authority("outside of the mesh", await asyncio.to_thread(make_key), now(), _LIFETIME)
        pair = server_certificate(issuer, (HOST,), await asyncio.to_thread(make_key), now(), _LIFETIME)
        self._authority = issuer
        content = {"tls.crt": pair.certificate.decode(), "tls.key": pair.key.decode()}
        head = {"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls", "metadata": {"name": CREDENTIAL}}
        return json.dumps({**head, "stringData": content})

    def trusted(self) -> ssl.SSLContext:
        """Return what clients outside believe: the authority of its certificate."""
        return ssl.create_default_context(cadata=self._authority.pem.decode() if self._authority else None)

    def client(self, trusted: ssl.SSLContext) -> httpx.AsyncClient:
        """Return a client for URLs of its hosts, wherever DNS would lead, that believes whom ``trusted`` says."""
        return httpx.AsyncClient(transport=_GatewayTransport(self.ip, trusted), timeout=PATIENCE_S)

    async def listens(self) -> bool:
        """Return whether it listens."""
        try:
            for port in PORTS.values():
                _, writer = await asyncio.open_connection(self.ip, port)
                writer.close()
        except OSError:
            return False
        return True


class _GatewayTransport(httpx.AsyncHTTPTransport):
    """Connects to the gateway for every host, as DNS and a load balancer would."""

    def __init__(self, ip: str, trusted: ssl.SSLContext) -> None:
        super().__init__(verify=trusted, limits=LIMITS)
        self._ip = ip

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        request.extensions["sni_hostname"] = request.url.host
        request.url = request.url.copy_with(host=self._ip, port=PORTS[request.url.scheme])
        return await super().handle_async_request(request)
