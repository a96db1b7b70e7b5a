"""A server that does nothing but send ready bytes: what gRPC and the swarm cost by themselves.

Run as ``python -m tests.bench.bare FOLDER``: the folder has the responses of each type. Each line on standard input names a file of the
folder that is sent to every stream at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import grpc.aio
import uvloop
from envoy.service.discovery.v3.discovery_pb2 import DeltaDiscoveryRequest
from grpc.aio import ServicerContext

from controlplane.envoy.type_urls import CDS, EDS, LDS, RDS, VHDS
from controlplane.serve.server import OPTIONS
from tests.bench.sidecars import METHOD


@dataclass(eq=False)
class Open:
    """A stream that is open: what is to be sent, and that there is something."""

    waiting: deque[bytes] = field(default_factory=deque)
    news: asyncio.Event = field(default_factory=asyncio.Event)

    def send(self, payload: bytes) -> None:
        """Send ``payload``."""
        self.waiting.append(payload)
        self.news.set()


class BareServer(grpc.GenericRpcHandler):
    """Answers each first request of a type with that type's responses."""

    def __init__(self, payloads: dict[str, list[bytes]]) -> None:
        self.payloads = payloads
        self.streams: set[Open] = set()

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[DeltaDiscoveryRequest, bytes] | None:
        """Return the handler of the one method."""
        if handler_call_details.method != METHOD:
            return None
        return grpc.stream_stream_rpc_method_handler(
            self._stream, request_deserializer=DeltaDiscoveryRequest.FromString, response_serializer=None
        )

    async def _stream(self, _: object, context: ServicerContext[DeltaDiscoveryRequest, bytes]) -> None:
        stream = Open()
        self.streams.add(stream)
        reader = asyncio.create_task(self._read(context, stream))
        try:
            while not reader.done():
                await stream.news.wait()
                stream.news.clear()
                while stream.waiting:
                    await context.write(stream.waiting.popleft())
        finally:
            reader.cancel()
            self.streams.discard(stream)

    async def _read(self, context: ServicerContext[DeltaDiscoveryRequest, bytes], stream: Open) -> None:
        asked = set()
        with contextlib.suppress(grpc.aio.BaseError):
            while isinstance(request := await context.read(), DeltaDiscoveryRequest):
                if request.type_url not in asked:
                    asked.add(request.type_url)
                    for payload in self.payloads[request.type_url]:
                        stream.send(payload)
        stream.news.set()

    def send(self, payload: bytes) -> None:
        """Send ``payload`` to every stream."""
        for stream in self.streams:
            stream.send(payload)


def _contents(folder: Path, pattern: str) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob(pattern)}


async def main(folder: Path) -> None:
    """Serve the payloads of ``folder`` until standard input ends."""
    payloads: dict[str, list[bytes]] = {type_url: [] for type_url in (CDS, EDS, LDS, RDS, VHDS)}
    by_name = {type_url.rpartition(".")[2]: found for type_url, found in payloads.items()}
    for name, content in sorted(_contents(folder, "*.first").items()):
        by_name[name.partition(".")[0]].append(content)
    changes = _contents(folder, "*.change")
    bare = BareServer(payloads)
    server = grpc.aio.server(options=OPTIONS)
    server.add_generic_rpc_handlers((bare,))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(port, flush=True)
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        bare.send(changes[line.strip()])
    await server.stop(None)


if __name__ == "__main__":
    uvloop.run(main(Path(sys.argv[1])))
