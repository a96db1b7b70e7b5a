"""Traces: which requests have spans, what these say, and to whom."""

from __future__ import annotations

from dataclasses import dataclass

from controlplane.ir.telemetry.access_logs import ProviderAddress

Headers = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class SpanLiteral:
    """A value as it stands."""

    value: str


@dataclass(frozen=True, slots=True)
class SpanEnvironment:
    """A variable of the proxy's environment; where that is not set, ``default``, and without one no tag."""

    variable: str
    default: str = ""


@dataclass(frozen=True, slots=True)
class SpanHeader:
    """A header of the request; where it has none, ``default``, and without one no tag."""

    header: str
    default: str = ""


@dataclass(frozen=True, slots=True)
class SpanFormat:
    """A format of access logs."""

    format: str


@dataclass(frozen=True, slots=True)
class SpanMetadata:
    """What a filter has left of a request under ``key``; where that is nothing, no tag."""

    filter: str
    key: str


TagValue = SpanLiteral | SpanEnvironment | SpanHeader | SpanFormat | SpanMetadata


@dataclass(frozen=True, slots=True, kw_only=True)
class ZipkinTracer:
    """A Zipkin. ``w3c``: traces of callers with ``traceparent`` go on, and both kinds of headers are sent."""

    address: ProviderAddress
    path: str
    w3c: bool = False
    long_ids: bool = True  # of 128 bits, otherwise 64
    timeout_ms: int | None = None  # as Envoy has it
    headers: Headers = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class OtlpTracer:
    """An OpenTelemetry collector, by gRPC or, with ``path``, by HTTP. ``environment``: more about the proxy stands in its environment."""

    address: ProviderAddress
    service_name: str
    path: str = ""
    timeout_ms: int | None = None
    headers: Headers = ()
    environment: bool = False


@dataclass(frozen=True, slots=True)
class DatadogTracer:
    """A Datadog agent."""

    address: ProviderAddress
    service_name: str


@dataclass(frozen=True, slots=True)
class SkyWalkingTracer:
    """A SkyWalking receiver, by gRPC."""

    address: ProviderAddress
    service_name: str
    token: str = ""


Tracer = ZipkinTracer | OtlpTracer | DatadogTracer | SkyWalkingTracer


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestTracing:
    """The spans of requests. ``sampling``: the share, in percent, of those that come without a decision."""

    tracer: Tracer
    sampling: float
    tags: tuple[tuple[str, TagValue], ...] = ()  # by name
    max_path_length: int | None = None  # of the tag with a request's path, in bytes; None: as Envoy has it, 256
    by_request_id: bool = True  # X-Request-Id carries the decision
    propagates: bool = True  # requests go on with the trace's headers
