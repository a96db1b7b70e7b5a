"""Requests from their bytes: long ones piece by piece, and none that is longer than anybody needs.

Decoding a message holds the event loop until it is done: 500,000 names at once are half a second. What is wrong with them can be counted
before that, since an encoded message is a sequence of fields, and the fields of two messages one after the other are those of one.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from typing import Generic, cast

import grpc
import grpc.aio
from google.protobuf.message import DecodeError
from grpc.aio import ServicerContext

from controlplane.errors import PeerError
from controlplane.serve.authn.authenticate import StreamEnd
from controlplane.serve.xds.quotas import MAX_NAMES
from controlplane.serve.xds.requests import AnyRequest

MAX_FIELD_BYTES = 1 << 20  # one name, or the node: its metadata has a pod's annotations, which Kubernetes bounds by a quarter of that
_SMALL_BYTES = 64 << 10  # what is decoded at once, in a millisecond
_PIECE_FIELDS = 2000  # the same, of names
_VARINT_BYTES = 10
_SHORT = 2  # wire type of bytes, and a number of one byte
_MAX_FIELDS = 4 * MAX_NAMES  # all kinds together


class RequestRefused(PeerError):
    """A request with more in it than is taken: the stream is to be ``ended``."""

    def __init__(self, expected: str) -> None:
        """Say what was ``expected``."""
        super().__init__(expected)
        self.ended = StreamEnd(grpc.StatusCode.RESOURCE_EXHAUSTED, f"expected {expected}")


class RequestReader(Generic[AnyRequest]):
    """Reads the requests of one stream, whose messages come as bytes."""

    def __init__(self, context: ServicerContext[bytes, bytes], kind: type[AnyRequest], turn: asyncio.Lock) -> None:
        """Read messages of ``kind`` from ``context``; a long one is decoded by whoever has its ``turn``."""
        self.context = context
        self._kind: type[AnyRequest] = kind
        self._turn = turn

    async def read(self) -> AnyRequest:
        """Return the next request; where none comes any more, gRPC's ``EOF`` in its place, as gRPC does.

        Raises DecodeError, RequestRefused, and what gRPC raises.
        """
        raw: object = await self.context.read()
        if not isinstance(raw, bytes):
            return cast("AnyRequest", raw)
        request = self._kind()
        if len(raw) <= _SMALL_BYTES:
            request.MergeFromString(raw)
            return request
        async with self._turn:
            start = 0
            for end in cuts(raw):
                request.MergeFromString(raw[start:end])
                start = end
                await asyncio.sleep(0)
        return request


def cuts(raw: bytes) -> Iterator[int]:
    """Yield where ``raw``, an encoded message, can be cut into pieces that take a millisecond to decode, its end last.

    Raises DecodeError where it is no message, and RequestRefused where it has too much of anything.
    """
    counts: Counter[int] = Counter()
    position = fields = 0
    while position < len(raw):
        number, position = _after_field(raw, position)
        counts[number] += 1
        fields += 1
        if counts[number] > MAX_NAMES or fields > _MAX_FIELDS:
            raise RequestRefused(f"at most {MAX_NAMES} names in one request")
        if fields % _PIECE_FIELDS == 0:
            yield position
    if position > len(raw):
        raise DecodeError("a field goes beyond the end")
    yield len(raw)


def _after_field(raw: bytes, position: int) -> tuple[int, int]:
    """Return the number of the field at ``position``, and where the next one begins."""
    head = raw[position : position + 2]
    if len(head) > 1 and head[0] & 0x87 == _SHORT and head[1] < 0x80:  # nearly all are so: at once
        return head[0] >> 3, position + 2 + head[1]
    tag, position = _varint(raw, position)
    match tag & 7:  # https://protobuf.dev/programming-guides/encoding/#structure
        case 2:
            length, position = _varint(raw, position)
            if length > MAX_FIELD_BYTES:
                raise RequestRefused(f"at most {MAX_FIELD_BYTES} bytes in one field of a request")
            position += length
        case 0:
            _, position = _varint(raw, position)
        case 1:
            position += 8
        case 5:
            position += 4
        case _:
            raise DecodeError("a field of no known wire type")
    return tag >> 3, position


def _varint(raw: bytes, position: int) -> tuple[int, int]:
    value = 0
    for place, byte in enumerate(raw[position : position + _VARINT_BYTES]):
        value |= (byte & 0x7F) << 7 * place
        if byte < 0x80:
            return value, position + place + 1
    raise DecodeError("a number that does not end")
