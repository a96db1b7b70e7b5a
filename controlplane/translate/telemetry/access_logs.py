"""Access logs: of requests, of connections that are sent on whole, and of connections that a listener has no filter chain for."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import assert_never

from envoy.config.accesslog.v3.accesslog_pb2 import AccessLog as AccessLogMessage
from envoy.config.accesslog.v3.accesslog_pb2 import AccessLogFilter
from envoy.config.core.v3.config_source_pb2 import ApiVersion
from envoy.config.core.v3.grpc_service_pb2 import GrpcService
from envoy.config.core.v3.substitution_format_string_pb2 import SubstitutionFormatString
from envoy.extensions.access_loggers.file.v3.file_pb2 import FileAccessLog
from envoy.extensions.access_loggers.filters.cel.v3.cel_pb2 import ExpressionFilter
from envoy.extensions.access_loggers.grpc.v3.als_pb2 import CommonGrpcAccessLogConfig, HttpGrpcAccessLogConfig, TcpGrpcAccessLogConfig
from envoy.extensions.access_loggers.open_telemetry.v3.logs_service_pb2 import OpenTelemetryAccessLogConfig
from google.protobuf.struct_pb2 import Struct

from controlplane.envoy.packing import pack
from controlplane.envoy.type_urls import PREFIX
from controlplane.ir.telemetry.access_logs import AccessLog, FileLog, JsonFormat, LogService, LogSink, OtlpLog, ProviderAddress, TextFormat
from controlplane.ir.telemetry.listeners import ListenerTelemetry
from controlplane.translate.telemetry.formatters import formatters_of

_FILE, _REQUESTS, _CONNECTIONS, _OTLP = (f"envoy.access_loggers.{kind}" for kind in ("file", "http_grpc", "tcp_grpc", "open_telemetry"))
_Grpc = HttpGrpcAccessLogConfig | TcpGrpcAccessLogConfig | OpenTelemetryAccessLogConfig
_WITH_CLUSTER: Mapping[str, type[_Grpc]] = {
    _REQUESTS: HttpGrpcAccessLogConfig,
    _CONNECTIONS: TcpGrpcAccessLogConfig,
    _OTLP: OpenTelemetryAccessLogConfig,
}
_NO_ROUTE = "NR"  # the response flag of connections that no filter chain is for


def of_requests(telemetry: ListenerTelemetry) -> list[AccessLogMessage]:
    """Return the logs of requests."""
    return [_access_log(log) for log in telemetry.access_logs if not isinstance(log.sink, LogService) or log.sink.of_requests]


def of_connections(telemetry: ListenerTelemetry) -> list[AccessLogMessage]:
    """Return the logs of connections that are sent on whole."""
    return [_access_log(log) for log in _logs_of_connections(telemetry)]


def of_refused_connections(telemetry: ListenerTelemetry) -> list[AccessLogMessage]:
    """Return the logs of connections that a listener has no filter chain for."""
    if not telemetry.logs_refused:
        return []
    return [_access_log(log, AccessLogFilter(response_flag_filter={"flags": [_NO_ROUTE]})) for log in _logs_of_connections(telemetry)]


def log_cluster(message: AccessLogMessage) -> str:
    """Return the cluster that ``message`` sends its logs to; empty: it is none that does."""
    kind = _WITH_CLUSTER.get(message.name)
    if kind is None or message.typed_config.type_url != PREFIX + kind.DESCRIPTOR.full_name:  # a patch may have put another under its name
        return ""
    return kind.FromString(message.typed_config.value).common_config.grpc_service.envoy_grpc.cluster_name


def grpc_service(address: ProviderAddress) -> GrpcService:
    """Return how the service at ``address`` is spoken to."""
    return GrpcService(envoy_grpc={"cluster_name": address.cluster, "authority": address.host})


def _logs_of_connections(telemetry: ListenerTelemetry) -> Iterator[AccessLog]:
    return (log for log in telemetry.access_logs if not isinstance(log.sink, LogService) or not log.sink.of_requests)


def _access_log(log: AccessLog, also: AccessLogFilter | None = None) -> AccessLogMessage:
    """Return ``log``, of what passes the filter ``also`` as well."""
    message = _sink(log.sink)
    filters = [each for each in (also, _condition(log.condition) if log.condition else None) if each]
    if len(filters) > 1:
        message.filter.and_filter.filters.extend(filters)
    elif filters:
        message.filter.CopyFrom(filters[0])
    return message


def _condition(expression: str) -> AccessLogFilter:
    config = pack(ExpressionFilter(expression=expression))
    return AccessLogFilter(extension_filter={"name": "envoy.access_loggers.extension_filters.cel", "typed_config": config})


def _sink(sink: LogSink) -> AccessLogMessage:
    match sink:
        case FileLog():
            return AccessLogMessage(name=_FILE, typed_config=pack(_file(sink)))
        case LogService():
            return _log_service(sink)
        case OtlpLog():
            return AccessLogMessage(name=_OTLP, typed_config=pack(_otlp(sink)))
        case _:
            assert_never(sink)


def _file(sink: FileLog) -> FileAccessLog:
    lines = SubstitutionFormatString(omit_empty_values=sink.omits_empty)
    match sink.format:
        case TextFormat(text):
            lines.text_format_source.inline_string = text
            lines.formatters.extend(formatters_of(text))
        case JsonFormat(fields):
            struct = Struct()
            struct.update(json.loads(fields))
            lines.json_format.CopyFrom(struct)
            lines.formatters.extend(formatters_of(fields))
        case _:
            assert_never(sink.format)
    return FileAccessLog(path=sink.path, log_format=lines)


def _log_service(sink: LogService) -> AccessLogMessage:
    common = CommonGrpcAccessLogConfig(
        log_name=sink.log_name,
        grpc_service=grpc_service(sink.address),
        transport_api_version=ApiVersion.V3,
        filter_state_objects_to_log=sink.filter_states,
    )
    if not sink.of_requests:
        return AccessLogMessage(name=_CONNECTIONS, typed_config=pack(TcpGrpcAccessLogConfig(common_config=common)))
    config = HttpGrpcAccessLogConfig(
        common_config=common,
        additional_request_headers_to_log=sink.request_headers,
        additional_response_headers_to_log=sink.response_headers,
        additional_response_trailers_to_log=sink.response_trailers,
    )
    return AccessLogMessage(name=_REQUESTS, typed_config=pack(config))


def _otlp(sink: OtlpLog) -> OpenTelemetryAccessLogConfig:
    formats = (sink.body, *(value for _, value in sink.attributes))
    return OpenTelemetryAccessLogConfig(
        common_config=CommonGrpcAccessLogConfig(
            log_name=sink.log_name, grpc_service=grpc_service(sink.address), transport_api_version=ApiVersion.V3
        ),
        disable_builtin_labels=True,
        body={"string_value": sink.body},
        attributes={"values": [{"key": name, "value": {"string_value": value}} for name, value in sink.attributes]},
        formatters=formatters_of(" ".join(formats)),
    )
