"""A rate limit service: it says of each descriptor's value whether it is over its limit."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

import grpc
from envoy.service.ratelimit.v3.rls_pb2 import RateLimitRequest, RateLimitResponse


class RateLimitService:
    """Lets everything pass but the values ``limited``, and remembers what it was asked."""

    def __init__(self, *limited: str) -> None:
        self.limited = limited
        self.asked: list[tuple[str, tuple[tuple[str, str], ...]]] = []  # domain, and the entries of a descriptor

    @contextlib.asynccontextmanager
    async def serve(self, address: str) -> AsyncIterator[None]:
        """Answer at ``address`` until the block ends."""
        server = grpc.aio.server()
        handler = grpc.unary_unary_rpc_method_handler(
            self._answer, request_deserializer=RateLimitRequest.FromString, response_serializer=RateLimitResponse.SerializeToString
        )
        methods = grpc.method_handlers_generic_handler("envoy.service.ratelimit.v3.RateLimitService", {"ShouldRateLimit": handler})
        server.add_generic_rpc_handlers((methods,))
        assert server.add_insecure_port(address)
        await server.start()
        try:
            yield
        finally:
            await server.stop(None)

    async def _answer(
        self, request: RateLimitRequest, _: grpc.aio.ServicerContext[RateLimitRequest, RateLimitResponse]
    ) -> RateLimitResponse:
        entries = [tuple((entry.key, entry.value) for entry in descriptor.entries) for descriptor in request.descriptors]
        self.asked.extend((request.domain, each) for each in entries)
        over = any(value in self.limited for each in entries for _, value in each)
        return RateLimitResponse(overall_code=RateLimitResponse.OVER_LIMIT if over else RateLimitResponse.OK)
