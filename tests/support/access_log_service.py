"""A service that takes Envoy's access logs by gRPC."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

import grpc
import grpc.aio
from envoy.data.accesslog.v3.accesslog_pb2 import HTTPAccessLogEntry, TCPAccessLogEntry
from envoy.service.accesslog.v3.als_pb2 import StreamAccessLogsMessage, StreamAccessLogsResponse


class AccessLogService:
    """What came: by the name of each log, its entries."""

    def __init__(self) -> None:
        self.requests: dict[str, list[HTTPAccessLogEntry]] = {}
        self.connections: dict[str, list[TCPAccessLogEntry]] = {}

    @contextlib.asynccontextmanager
    async def serving(self, address: str) -> AsyncIterator[None]:
        """Serve at ``address``, ``HOST:PORT``, as long as the block lasts."""
        server = grpc.aio.server()
        take = grpc.stream_unary_rpc_method_handler(
            self._take,
            request_deserializer=StreamAccessLogsMessage.FromString,
            response_serializer=StreamAccessLogsResponse.SerializeToString,
        )
        name = "envoy.service.accesslog.v3.AccessLogService"
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(name, {"StreamAccessLogs": take}),))
        server.add_insecure_port(address)
        await server.start()
        try:
            yield
        finally:
            await server.stop(None)

    async def _take(self, messages: AsyncIterator[StreamAccessLogsMessage], _: object) -> StreamAccessLogsResponse:
        name = ""
        async for message in messages:
            name = message.identifier.log_name or name
            self.requests.setdefault(name, []).extend(message.http_logs.log_entry)
            self.connections.setdefault(name, []).extend(message.tcp_logs.log_entry)
        return StreamAccessLogsResponse()
