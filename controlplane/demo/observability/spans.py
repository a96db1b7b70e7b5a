"""What the demo's Envoys tell of requests: a receiver of Zipkin's spans, and the tree that those of one trace are.

https://zipkin.io/zipkin-api/#/default/post_spans
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator
from typing import NamedTuple

from controlplane.demo.apps import Message, ServedApp
from controlplane.untyped import items, number, section, text

PORT = 9411
_MOST_SPANS = 10_000


class Span(NamedTuple):
    """One span, as much as is shown of it; ``parent`` is empty at the root of a trace."""

    trace: str
    id: str
    parent: str
    service: str
    kind: str
    name: str
    begin_us: int
    milliseconds: float


class SpanCollector(ServedApp):
    """Takes in at the loopback address ``ip`` what proxies send to ``/api/v2/spans``."""

    def __init__(self, ip: str) -> None:
        """Prepare to listen at ``ip``."""
        super().__init__(f"{ip}:{PORT}")
        self.ip = ip
        self._spans: dict[str, dict[str, Span]] = defaultdict(dict)
        self._count = 0

    def traces(self) -> Iterator[tuple[Span, ...]]:
        """Yield the spans of each trace, in the order in which they began."""
        for spans in self._spans.values():
            yield tuple(sorted(spans.values(), key=lambda span: (span.begin_us, -span.milliseconds)))

    async def __call__(self, scope: Message, receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]) -> None:
        """Take one request in (ASGI)."""
        del scope
        body, more = b"", True
        while more:
            message = await receive()
            part = message.get("body", b"")
            body += part if isinstance(part, bytes) else b""
            more = bool(message.get("more_body"))
        for span in _read(body):
            if self._count < _MOST_SPANS:
                self._spans[span.trace][span.id] = span
                self._count += 1
        await send({"type": "http.response.start", "status": 202, "headers": []})
        await send({"type": "http.response.body", "body": b""})


def _read(body: bytes) -> Iterator[Span]:
    for row in items({"spans": json.loads(body)}, "spans"):
        yield Span(
            trace=text(row, "traceId"),
            id=text(row, "id"),
            parent=text(row, "parentId"),
            service=text(section(row, "localEndpoint"), "serviceName"),
            kind=text(row, "kind"),
            name=text(row, "name"),
            begin_us=number(row, "timestamp"),
            milliseconds=number(row, "duration") / 1000,
        )


def tree(spans: tuple[Span, ...]) -> list[str]:
    """Return ``spans``, those of one trace, as a tree: a line each, callees below their caller."""
    below: dict[str, list[Span]] = defaultdict(list)
    known = {span.id for span in spans}
    for span in spans:
        below[span.parent if span.parent in known else ""].append(span)

    def lines(parent: str, depth: int) -> Iterator[str]:
        for span in below[parent]:
            yield f"{'  ' * depth}{span.service} {span.kind.lower()} {span.name} {span.milliseconds:.1f} ms"
            yield from lines(span.id, depth + 1)

    return list(lines("", 0))
