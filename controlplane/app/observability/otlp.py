"""Traces of changes as spans of OpenTelemetry's SDK, and how they leave: by OTLP over HTTP, as JSON.

This is imported only where traces are wanted. Why the exporter is our own: docs/decisions/own-traces.md.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from itertools import groupby

import orjson
from opentelemetry.context import Context
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace import StatusCode, set_span_in_context
from opentelemetry.util.types import AttributeValue

from controlplane.app.observability.change_traces import ChangeTrace
from controlplane.settings import OwnTraceSettings
from controlplane.telemetry import OngoingFailure

log = logging.getLogger(__name__)

_SCOPE = "navarch"
_FLUSH_S = 2.0  # how long the end waits for what has not left yet


class ChangeSpans:
    """Makes a trace's spans when it has ended, and sends them."""

    def __init__(self, settings: OwnTraceSettings) -> None:
        """Send them as ``settings`` say."""
        resource = _resource()
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(OtlpJsonExporter(settings)))
        self._tracer = self._provider.get_tracer(_SCOPE, version("navarch"))

    def export(self, trace: ChangeTrace) -> None:
        """Make the spans of ``trace``, which has ended."""
        root = self._tracer.start_span("change", Context(), start_time=trace.began, attributes=_of_change(trace))
        context = set_span_in_context(root, Context())
        for step in trace.steps:
            self._span(context, step.name, step.began, step.ended)
        for type_url, responses in trace.responses.items():
            name = type_url.rpartition(".")[2]
            counts = {"navarch.responses": responses.count}
            answers = {"navarch.accepted": responses.accepted, "navarch.refused": responses.refused}
            self._span(context, f"send {name}", responses.first_sent, responses.last_sent, counts)
            if responses.last_answered is not None:
                self._span(context, f"ack {name}", responses.first_sent, responses.last_answered, answers)
        if trace.failed or any(responses.refused for responses in trace.responses.values()):
            root.set_status(StatusCode.ERROR)
        root.end(trace.ended)

    async def close(self) -> None:
        """Send what is left, for a moment."""
        loop = asyncio.get_running_loop()
        done = asyncio.Event()

        def shut_down() -> None:
            self._provider.shutdown()
            with contextlib.suppress(RuntimeError):  # the event loop has ended meanwhile
                loop.call_soon_threadsafe(done.set)

        threading.Thread(target=shut_down, name="traces", daemon=True).start()  # no executor: it would be waited for at the end
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_FLUSH_S):
                await done.wait()

    def _span(self, context: Context, name: str, began: int, ended: int, attributes: Mapping[str, AttributeValue] | None = None) -> None:
        self._tracer.start_span(name, context, start_time=began, attributes=attributes).end(ended)


def _resource() -> Resource:
    """Return who sends traces: as OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES say, which the SDK reads."""
    own = Resource({"service.name": "navarch", "service.version": version("navarch")})
    return own.merge(OTELResourceDetector().detect())


class OtlpJsonExporter(SpanExporter):
    """Posts spans as OTLP's JSON. It runs in the thread of the SDK, which bounds how many wait."""

    def __init__(self, settings: OwnTraceSettings) -> None:
        """Post to the endpoint of ``settings``."""
        self._settings = settings
        self._context = ssl.create_default_context(cafile=settings.roots) if settings.endpoint.startswith("https:") else None
        self._failure = OngoingFailure(log, "traces not sent", "traces sent again", endpoint=settings.endpoint)

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Post ``spans``; those that nobody takes are lost."""
        headers = {"content-type": "application/json", **dict(self._settings.headers)}
        request = urllib.request.Request(self._settings.endpoint, otlp_json(spans), headers)  # noqa: S310 - the command line has checked the scheme
        try:
            with urllib.request.urlopen(request, timeout=self._settings.timeout_s, context=self._context):  # noqa: S310 - the same
                self._failure.worked()
                return SpanExportResult.SUCCESS
        except (OSError, ValueError) as error:
            self._failure.failed(str(error), type(error))
            return SpanExportResult.FAILURE


def otlp_json(spans: Sequence[ReadableSpan]) -> bytes:
    """Return ``spans``, which are of one resource, as a request of OTLP.

    https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding
    """
    by_scope = groupby(spans, lambda span: span.instrumentation_scope.name if span.instrumentation_scope else "")
    scopes = [{"scope": {"name": name}, "spans": [_span_json(span) for span in of_scope]} for name, of_scope in by_scope]
    resource = {"attributes": list(_attributes(spans[0].resource.attributes))} if spans else {}
    return orjson.dumps({"resourceSpans": [{"resource": resource, "scopeSpans": scopes}]})


def _span_json(span: ReadableSpan) -> dict[str, object]:
    context = span.get_span_context()
    return {
        "traceId": f"{context.trace_id:032x}" if context else "",
        "spanId": f"{context.span_id:016x}" if context else "",
        **({"parentSpanId": f"{span.parent.span_id:016x}"} if span.parent else {}),
        "name": span.name,
        "kind": 1,  # SPAN_KIND_INTERNAL
        "startTimeUnixNano": str(span.start_time),
        "endTimeUnixNano": str(span.end_time),
        "attributes": list(_attributes(span.attributes or {})),
        "status": {"code": 2 if span.status.status_code is StatusCode.ERROR else 0},
    }


def _attributes(attributes: Mapping[str, AttributeValue]) -> Iterator[dict[str, object]]:
    for key, value in sorted(attributes.items()):
        match value:
            case bool():
                yield {"key": key, "value": {"boolValue": value}}
            case int():
                yield {"key": key, "value": {"intValue": str(value)}}
            case float():
                yield {"key": key, "value": {"doubleValue": value}}
            case _:
                yield {"key": key, "value": {"stringValue": str(value)}}


def _of_change(trace: ChangeTrace) -> dict[str, AttributeValue]:
    return {
        "navarch.changes": trace.changes,
        "navarch.sources": ",".join(sorted(trace.sources)),
        "navarch.connections": trace.connections,
        "navarch.complete": trace.complete,
    }
