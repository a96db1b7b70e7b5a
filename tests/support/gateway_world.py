"""A gateway before a mesh, for tests: what it serves, who asks it, and what is behind it besides the mesh."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import grpc.aio
import httpx

from tests.support.certificates import Authority, write_files
from tests.support.envoys import DemoGateway, DemoMesh
from tests.support.manifests import document
from tests.support.waiting import DEADLINE_S, until


class GatewayWorld:
    """The gateway of a world, the files of its certificates, and who signed them."""

    def __init__(self, world: DemoMesh, gateway: DemoGateway, folder: Path) -> None:
        """Prepare certificates below ``folder``."""
        self.world = world
        self.gateway = gateway
        self.folder = folder
        self.authority = Authority()

    async def show(self, servers: Sequence[Mapping[str, object]], *hosts: str, **spec: object) -> None:
        """Save that the gateway serves ``servers``, and how ``hosts`` are routed there."""
        gateway = document("Gateway", "front", selector={"app": "ingress"}, servers=servers)
        await self.world.store.save(
            "front", f"{gateway}\n---\n{document('VirtualService', 'front', hosts=hosts, gateways=['front'], **spec)}"
        )

    async def until_answers(self, url: str, status: int = 200, shown: Path | None = None) -> None:
        """Wait until ``url`` is answered with ``status``."""

        async def answers() -> bool:
            try:
                return (await self.ask(url, shown)).status_code == status
            except httpx.TransportError:
                return False

        await until(answers, f"{url} is answered with {status}", watched=self.gateway.process)

    def server(self, protocol: str, number: int, *hosts: str, **tls: object) -> dict[str, object]:
        """Return a server at the gateway's own address, as there are other Envoys on this machine."""
        port = {"number": number, "protocol": protocol, "name": f"p-{number}-{hosts[0].partition('.')[0].replace('*', 'all')}"}
        return {"port": port, "bind": self.gateway.ip, "hosts": hosts, **({"tls": tls} if tls else {})}

    def terminated(self, number: int, host: str, mode: str = "SIMPLE") -> dict[str, object]:
        """Return a server of HTTPS for ``host``, with a certificate of its own."""
        files = self.folder / host
        write_files(files, host, authority=self.authority)
        own = {"serverCertificate": str(files / "tls.crt"), "privateKey": str(files / "tls.key")}
        return self.server(
            "HTTPS", number, host, mode=mode, **own, **({"caCertificates": str(files / "ca.crt")} if mode == "MUTUAL" else {})
        )

    def credential(self, name: str, host: str) -> str:
        """Return the Secret ``name`` with a new certificate for ``host``."""
        chain, key = self.authority.issue(host)
        content = {"tls.crt": chain.decode(), "tls.key": key.decode()}
        metadata = {"name": name, "namespace": "default"}
        return json.dumps({"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls", "metadata": metadata, "stringData": content})

    async def certificate(self, host: str) -> bytes | None:
        """Return the certificate that ``host`` shows."""
        _, writer = await asyncio.open_connection(self.gateway.ip, 8443, ssl=self.trusting(), server_hostname=host)
        shown: ssl.SSLObject = writer.get_extra_info("ssl_object")
        writer.transport.abort()
        return shown.getpeercert(binary_form=True)

    async def lets_in(self, port: int, host: str, protocol: str) -> bool:
        """Return whether somebody shows a certificate to who calls for ``host``, and announces ``protocol``."""
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.set_alpn_protocols([protocol])
        try:
            _, writer = await asyncio.open_connection(self.gateway.ip, port, ssl=context, server_hostname=host)
        except OSError:
            return False
        writer.transport.abort()
        return True

    def trusting(self, shown: Path | None = None) -> ssl.SSLContext:
        """Return what a client believes, and what it shows."""
        context = ssl.create_default_context(cadata=self.authority.pem.decode())
        if shown:
            context.load_cert_chain(shown / "tls.crt", shown / "tls.key")
        return context

    async def ask(self, url: str, shown: Path | None = None, headers: Mapping[str, str] | None = None) -> httpx.Response:
        """Return the answer to a request as somebody outside makes it."""
        async with self.gateway.client(self.trusting(shown)) as client:
            return await client.get(url, headers=headers)


def external(name: str, port: int) -> str:
    """Return a ServiceEntry ``name.behind`` that is at ``port`` of this machine."""
    ports = [{"number": 7000, "name": name, "protocol": name.upper()}]
    endpoints = [{"address": "127.0.0.1", "ports": {name: port}}]
    return document("ServiceEntry", name, hosts=[f"{name}.behind"], ports=ports, resolution="STATIC", endpoints=endpoints)


@asynccontextmanager
async def saying(text: bytes, server: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """Say ``text`` to everybody who connects to the port that is yielded."""

    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(text)
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0, ssl=server) as listening:
        yield listening.sockets[0].getsockname()[1]


async def said(host: str, port: int, context: ssl.SSLContext | None = None, name: str | None = None) -> bytes:
    """Return what is said to who connects, nothing where the connection is refused."""
    writer = None
    try:
        async with asyncio.timeout(DEADLINE_S):
            reader, writer = await asyncio.open_connection(host, port, ssl=context, server_hostname=name)
            return await reader.readline()
    except OSError:
        return b""
    finally:
        if writer:
            writer.transport.abort()


@asynccontextmanager
async def grpc_server() -> AsyncIterator[int]:
    """Serve a method that says what it is told, in plaintext, at the port that is yielded."""

    async def say(request: bytes, _: grpc.aio.ServicerContext[bytes, bytes]) -> bytes:
        return request

    server = grpc.aio.server()
    handler = grpc.method_handlers_generic_handler("test.Echo", {"Say": grpc.unary_unary_rpc_method_handler(say)})
    server.add_generic_rpc_handlers((handler,))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield port
    finally:
        await server.stop(None)
