"""The webhooks' HTTPS without an API server, beside a server of health in the same event loop, and clients that ask it."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import json
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec

from controlplane.admin.http_server import HttpServer
from controlplane.ca.certificates import authority, server_certificate
from controlplane.inject.inject import InjectionContext
from controlplane.settings import InjectionSettings
from controlplane.webhooks.bodies import Message, Receive
from controlplane.webhooks.mutate import mutate
from controlplane.webhooks.server import Send, Webhook
from controlplane.webhooks.validate import validate
from tests.support.waiting import DEADLINE_S

CONTEXT = InjectionContext(settings=InjectionSettings())


@dataclass(frozen=True)
class WebhookServer:
    """Webhooks that listen."""

    port: int
    health: int
    trust: ssl.SSLContext
    webhook: Webhook

    async def ask(self, body: bytes, path: str = "/validate") -> tuple[int, object]:
        """Return the status and the JSON of the answer to ``body``, sent by a connection of its own."""
        async with asyncio.timeout(DEADLINE_S):
            reader, writer = await asyncio.open_connection("localhost", self.port, ssl=self.trust)
            try:
                writer.write(header(len(body), path) + body)
                await writer.drain()
                status, answer = await _answer(reader)
                return status, json.loads(answer)
            finally:
                writer.close()

    async def healthz(self) -> int:
        """Return the status of /healthz."""
        reader, writer = await asyncio.open_connection("localhost", self.health)
        try:
            writer.write(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            return (await _answer(reader))[0]
        finally:
            writer.close()


def header(length: int, path: str = "/validate") -> bytes:
    """Return the header of a review of ``length`` bytes."""
    lines = (f"POST {path} HTTP/1.1", "Host: localhost", "Content-Type: application/json", f"Content-Length: {length}")
    return "".join(f"{line}\r\n" for line in (*lines, "")).encode()


def review(value: object, **more: object) -> bytes:
    """Return an AdmissionReview of the object ``value``."""
    request = {"uid": "u", "operation": "CREATE", "object": value, **more}
    return json.dumps({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request}).encode()


@contextlib.asynccontextmanager
async def webhook_server(folder: Path) -> AsyncIterator[WebhookServer]:
    """Serve both kinds of reviews until the block ends."""
    now, lifetime = dt.datetime.now(dt.UTC), dt.timedelta(days=1)
    issuer = authority("webhook", ec.generate_private_key(ec.SECP256R1()), now, lifetime)
    pair = server_certificate(issuer, ("localhost",), ec.generate_private_key(ec.SECP256R1()), now, lifetime)
    (folder / "tls.crt").write_bytes(pair.certificate)
    (folder / "tls.key").write_bytes(pair.key)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(folder / "tls.crt", folder / "tls.key")
    webhook = Webhook(
        {
            "/validate": lambda path: partial(validate, path=path),
            "/inject/namespace": lambda path: partial(mutate, path=path, context=CONTEXT),
        }
    )
    servers = HttpServer(webhook, "127.0.0.1:0", lambda: tls), HttpServer(_health, "127.0.0.1:0")
    port, health = (int(server.open().rpartition(":")[2]) for server in servers)
    tasks = [asyncio.create_task(server.run()) for server in servers]
    processes = [asyncio.create_task(process.run()) for process in webhook.processes]
    try:
        yield WebhookServer(port, health, ssl.create_default_context(cadata=issuer.pem.decode()), webhook)
    finally:
        for server in servers:
            server.stop()
        for process in processes:
            process.cancel()
        async with asyncio.timeout(DEADLINE_S):
            await asyncio.gather(*tasks)


async def _answer(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    lines = (await reader.readuntil(b"\r\n\r\n")).split(b"\r\n")
    length = next(int(line.partition(b":")[2]) for line in lines if line.lower().startswith(b"content-length:"))
    return int(lines[0].split()[1]), await reader.readexactly(length)


async def _health(scope: Message, receive: Receive, send: Send) -> None:
    del scope, receive
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"3")]})
    await send({"type": "http.response.body", "body": b"ok\n"})
