"""Access logs: what is written of requests and connections, how, and to whom.

Formats are those of Envoy's access logs, with its command operators; conditions are expressions in CEL.
https://www.envoyproxy.io/docs/envoy/latest/configuration/observability/access_log/usage
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TextFormat:
    """Lines of text."""

    text: str


@dataclass(frozen=True, slots=True)
class JsonFormat:
    """Lines that are each a JSON object: ``fields``, itself JSON, in which every text is a format."""

    fields: str


@dataclass(frozen=True, slots=True)
class FileLog:
    """A file of the proxy. ``omits_empty``: what has no value is left out, not ``-``."""

    path: str
    format: TextFormat | JsonFormat
    omits_empty: bool = False


@dataclass(frozen=True, slots=True)
class ProviderAddress:
    """A service that telemetry goes to: its ``cluster``, and the ``host`` that it is called by."""

    cluster: str
    host: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LogService:
    """A service that speaks ``envoy.service.accesslog.v3.AccessLogService``, and what it is told besides."""

    address: ProviderAddress
    log_name: str
    of_requests: bool  # otherwise of connections that are sent on whole
    filter_states: tuple[str, ...] = ()
    request_headers: tuple[str, ...] = ()
    response_headers: tuple[str, ...] = ()
    response_trailers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class OtlpLog:
    """An OpenTelemetry collector, by gRPC: the formats of a record's body and of its attributes."""

    address: ProviderAddress
    log_name: str
    body: str
    attributes: tuple[tuple[str, str], ...] = ()


LogSink = FileLog | LogService | OtlpLog


@dataclass(frozen=True, slots=True)
class AccessLog:
    """Where is logged what fits ``condition``; without one that is everything."""

    sink: LogSink
    condition: str = ""
