"""Requests are decoded in pieces, to what they are as a whole, and refused before they are decoded where they are too long."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

import grpc.aio
import pytest
from envoy.service.discovery.v3.discovery_pb2 import DeltaDiscoveryRequest, DiscoveryRequest
from google.protobuf.message import DecodeError
from grpc.aio import ServicerContext

from controlplane.serve.xds.decoding import MAX_FIELD_BYTES, RequestReader, RequestRefused, cuts
from controlplane.serve.xds.quotas import MAX_NAMES


class Bytes:
    """A call whose messages are ``raw``."""

    def __init__(self, *raw: object) -> None:
        self._raw = iter(raw)

    async def read(self) -> object:
        return next(self._raw)


def reader(raw: object) -> RequestReader[DeltaDiscoveryRequest]:
    return RequestReader(cast("ServicerContext[bytes, bytes]", Bytes(raw)), DeltaDiscoveryRequest, asyncio.Lock())


def reconnecting(names: int) -> DeltaDiscoveryRequest:
    """Return what an Envoy sends that has ``names`` from an earlier stream."""
    request = DeltaDiscoveryRequest(type_url="a.type", resource_names_subscribe=("*", *map(str, range(names // 2))))
    request.node.id = "sidecar~10.0.0.1~a.b~b.svc.cluster.local"
    request.node.metadata["LABELS"] = {"app": "a"}
    request.initial_resource_versions.update({f"outbound|80||s{name}.shop.svc.cluster.local": "0123456789abcdef" for name in range(names)})
    return request


@pytest.mark.parametrize("names", [0, 10, 10_000, MAX_NAMES])
async def test_a_request_is_read_as_it_was_written(names: int) -> None:
    request = reconnecting(names)

    assert await reader(request.SerializeToString()).read() == request


async def test_others_have_their_turn_while_a_long_request_is_decoded() -> None:
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    counting = asyncio.create_task(count())
    await reader(reconnecting(MAX_NAMES).SerializeToString()).read()
    counting.cancel()

    assert turns > 50


@pytest.mark.parametrize(
    "too_much",
    [
        lambda: DeltaDiscoveryRequest(initial_resource_versions={str(name): "1" for name in range(MAX_NAMES + 1)}),
        lambda: DeltaDiscoveryRequest(resource_names_subscribe=map(str, range(MAX_NAMES + 1))),
        lambda: DiscoveryRequest(resource_names=map(str, range(MAX_NAMES + 1))),
        lambda: DeltaDiscoveryRequest(resource_names_subscribe=("x" * (MAX_FIELD_BYTES + 1),)),
    ],
    ids=["versions", "names", "names of the older protocol", "a long name"],
)
async def test_what_is_too_long_is_refused_before_it_is_decoded(too_much: Callable[[], DeltaDiscoveryRequest]) -> None:
    with pytest.raises(RequestRefused) as refused:
        await reader(too_much().SerializeToString()).read()

    assert refused.value.ended.code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert refused.value.ended.details.startswith("expected at most ")


def test_fields_that_are_not_known_here_count_too() -> None:
    with pytest.raises(RequestRefused):
        list(
            cuts(b"".join(b"\xf8" + bytes((0x80 | number % 128, 0x01 + number // 128 % 100)) + b"\x00" for number in range(MAX_NAMES * 5)))
        )


@pytest.mark.parametrize(
    "damage",
    [lambda raw: raw[:-3], lambda raw: raw + b"\x0b", lambda raw: raw + b"\xff" * 11, lambda raw: raw + b"\x12"],
    ids=["cut off", "of no wire type", "no number", "without a length"],
)
async def test_what_is_no_message_is_told_so(damage: Callable[[bytes], bytes]) -> None:
    with pytest.raises(DecodeError):
        await reader(damage(reconnecting(MAX_NAMES).SerializeToString())).read()


async def test_the_end_of_a_stream_is_passed_on() -> None:
    assert cast("object", await reader(grpc.aio.EOF).read()) is grpc.aio.EOF
