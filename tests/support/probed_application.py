"""An application that answers probes as it is told."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import grpc
import grpc.aio

from tests.support.processes import free_port

SERVING, NOT_SERVING = b"\x08\x01", b"\x08\x02"  # grpc.health.v1.HealthCheckResponse


@dataclass
class Application:
    """Something that can be probed; what it answers is in its fields."""

    http: int = field(default_factory=free_port)
    tcp: int = field(default_factory=free_port)
    grpc: int = field(default_factory=free_port)
    status: int = 200
    more: str = ""  # header lines
    health: bytes = SERVING
    asked: list[str] = field(default_factory=list)

    @contextlib.asynccontextmanager
    async def running(self, ip: str) -> AsyncIterator[None]:
        """Listen at ``ip`` until the block ends."""
        http = await asyncio.start_server(self.answer, ip, self.http)
        server = grpc.aio.server()
        method: grpc.RpcMethodHandler[bytes, bytes] = grpc.unary_unary_rpc_method_handler(self._check)
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("grpc.health.v1.Health", {"Check": method}),))
        server.add_insecure_port(f"{ip}:{self.grpc}")
        await server.start()
        try:
            yield
        finally:
            await server.stop(0)
            http.close()

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one request."""
        with contextlib.suppress(asyncio.IncompleteReadError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            self.asked.append(head.partition(" HTTP/")[0])
            writer.write(f"HTTP/1.1 {self.status} Said\r\n{self.more}content-length: 0\r\nconnection: close\r\n\r\n".encode())
        writer.close()

    async def _check(self, request: bytes, _: object) -> bytes:
        self.asked.append(f"Check {request!r}")
        return self.health
