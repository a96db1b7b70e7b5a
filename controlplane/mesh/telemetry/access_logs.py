"""Which access logs proxies write, and to whom: what Telemetries say, and where none does the mesh's settings.

https://istio.io/latest/docs/reference/config/telemetry/#AccessLogging
https://istio.io/latest/docs/tasks/observability/logs/access-log/
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import NamedTuple

from controlplane.incremental.database import Database, query
from controlplane.ir.telemetry.access_logs import AccessLog, FileLog, JsonFormat, LogService, LogSink, OtlpLog, ProviderAddress, TextFormat
from controlplane.ir.telemetry.listeners import Side
from controlplane.mesh.destinations.clusters import ClusterTarget
from controlplane.mesh.telemetry.modes import holds_for
from controlplane.mesh.telemetry.providers import mesh_spec, provider_address, service_at, telemetry_provider, telemetry_target
from controlplane.mesh.telemetry.selection import TelemetryScope, telemetry_specs
from controlplane.model.access_logs.formats import format_for
from controlplane.model.envoy_versions import EnvoyVersion
from controlplane.model.keys import Key
from controlplane.objects.extensions.telemetry import AccessLogging
from controlplane.objects.mesh.extension_providers import ExtensionProvider
from controlplane.objects.mesh.mesh_config import MeshConfigSpec
from controlplane.objects.mesh.telemetry_providers import (
    FileLogProvider,
    HttpGrpcLogProvider,
    LogProvider,
    OpenTelemetryLogProvider,
    ServiceProvider,
    TcpGrpcLogProvider,
)

BUILT_IN = "envoy"
# What lines look like where nobody says. https://istio.io/latest/docs/tasks/observability/logs/access-log/#default-access-log-format
DEFAULT_TEXT = (
    '[%START_TIME%] "%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%" %RESPONSE_CODE% %RESPONSE_FLAGS% '
    '%RESPONSE_CODE_DETAILS% %CONNECTION_TERMINATION_DETAILS% "%UPSTREAM_TRANSPORT_FAILURE_REASON%" %BYTES_RECEIVED% %BYTES_SENT% '
    '%DURATION% %RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% "%REQ(X-FORWARDED-FOR)%" "%REQ(USER-AGENT)%" "%REQ(X-REQUEST-ID)%" '
    '"%REQ(:AUTHORITY)%" "%UPSTREAM_HOST%" %UPSTREAM_CLUSTER_RAW% %UPSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_LOCAL_ADDRESS% '
    "%DOWNSTREAM_REMOTE_ADDRESS% %REQUESTED_SERVER_NAME% %ROUTE_NAME%\n"
)
DEFAULT_FIELDS = json.dumps(
    {
        "authority": "%REQ(:AUTHORITY)%",
        "bytes_received": "%BYTES_RECEIVED%",
        "bytes_sent": "%BYTES_SENT%",
        "connection_termination_details": "%CONNECTION_TERMINATION_DETAILS%",
        "downstream_local_address": "%DOWNSTREAM_LOCAL_ADDRESS%",
        "downstream_remote_address": "%DOWNSTREAM_REMOTE_ADDRESS%",
        "duration": "%DURATION%",
        "method": "%REQ(:METHOD)%",
        "path": "%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%",
        "protocol": "%PROTOCOL%",
        "request_id": "%REQ(X-REQUEST-ID)%",
        "requested_server_name": "%REQUESTED_SERVER_NAME%",
        "response_code": "%RESPONSE_CODE%",
        "response_code_details": "%RESPONSE_CODE_DETAILS%",
        "response_flags": "%RESPONSE_FLAGS%",
        "route_name": "%ROUTE_NAME%",
        "start_time": "%START_TIME%",
        "upstream_cluster": "%UPSTREAM_CLUSTER_RAW%",
        "upstream_host": "%UPSTREAM_HOST%",
        "upstream_local_address": "%UPSTREAM_LOCAL_ADDRESS%",
        "upstream_service_time": "%RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)%",
        "upstream_transport_failure_reason": "%UPSTREAM_TRANSPORT_FAILURE_REASON%",
        "user_agent": "%REQ(USER-AGENT)%",
        "x_forwarded_for": "%REQ(X-FORWARDED-FOR)%",
    }
)


class ChosenLog(NamedTuple):
    """A provider of access logs by its name, and the expression in CEL that what is logged fits; empty: everything is."""

    provider: str
    condition: str = ""


@query
def access_logs(db: Database, scope: TelemetryScope, side: Side) -> tuple[AccessLog, ...]:
    """Return the access logs on ``side`` of a proxy of ``scope``, by the names of their providers."""
    spec = mesh_spec(db)
    chosen = chosen_logs(db, scope.objects, side)
    if chosen is None:
        logs = [AccessLog(sink) for sink in _sinks_of_settings(db, spec, side)]
    else:
        found = ((log, telemetry_provider(db, log.provider)) for log in chosen)
        logs = [AccessLog(sink, log.condition) for log, provider in found if provider and (sink := _sink(db, provider, side))]
    return tuple(AccessLog(_as_known(log.sink, scope.envoy), log.condition) for log in logs)


def _as_known(sink: LogSink, version: EnvoyVersion | None) -> LogSink:
    """Return ``sink`` with formats that an Envoy of ``version`` knows."""
    match sink:
        case FileLog(format=TextFormat(text)):
            return replace(sink, format=TextFormat(format_for(text, version)))
        case FileLog(format=JsonFormat(fields)):
            return replace(sink, format=JsonFormat(format_for(fields, version)))
        case OtlpLog():
            attributes = tuple((name, format_for(text, version)) for name, text in sink.attributes)
            return replace(sink, body=format_for(sink.body, version), attributes=attributes)
        case _:
            return sink


def log_targets(db: Database, keys: tuple[Key, ...], side: Side) -> Iterator[ClusterTarget]:
    """Yield the services that access logs on ``side`` of a proxy go to for which the Telemetries ``keys`` hold."""
    chosen = chosen_logs(db, keys, side)
    if chosen is None:
        found: Iterable[LogProvider | None] = services_of_settings(db, mesh_spec(db))
    else:
        providers = (telemetry_provider(db, log.provider) for log in chosen)
        found = (provider.access_log for provider in providers if provider)
    for provider in found:
        if isinstance(provider, ServiceProvider) and (target := telemetry_target(db, provider, side)):
            yield target


@query
def chosen_logs(db: Database, keys: tuple[Key, ...], side: Side) -> tuple[ChosenLog, ...] | None:
    """Return the providers that the Telemetries ``keys`` have log on ``side``, sorted by name; ``None``: they leave it to the settings.

    The last of them that names providers replaces those before; one that names none changes what it has inherited.
    """
    defaults = mesh_spec(db).default_providers.access_logging
    by_object = [[entry for entry in spec.access_logging if holds_for(entry.match, side)] for spec in telemetry_specs(db, keys)]
    if not defaults and not any(spec.access_logging for spec in telemetry_specs(db, keys)):
        return None
    inherited = tuple(name.casefold() for name in defaults)
    chosen: dict[str, ChosenLog | None] = {name: ChosenLog(name) for name in inherited}
    for entries in by_object:
        named = dict.fromkeys(name for entry in entries for name in _names(entry))
        if named:
            chosen = {name: chosen.get(name, ChosenLog(name)) for name in named}
        for entry in entries:
            condition = entry.filter.expression if entry.filter else ""
            chosen |= {
                name: None if entry.disabled else ChosenLog(name, condition) for name in _names(entry) or inherited if name in chosen
            }
        inherited = tuple(named) or inherited
    return tuple(log for _, log in sorted(chosen.items()) if log)


def _names(entry: AccessLogging) -> tuple[str, ...]:
    return tuple(ref.name.casefold() for ref in entry.providers)


def _sinks_of_settings(db: Database, spec: MeshConfigSpec, side: Side) -> Iterator[LogSink]:
    if spec.access_log_file:
        yield FileLog(spec.access_log_file, _format_of_settings(spec))
    for provider in services_of_settings(db, spec):
        if address := provider_address(db, provider, side):
            yield _log_service(provider, address)


def services_of_settings(db: Database, spec: MeshConfigSpec) -> tuple[TcpGrpcLogProvider, ...]:
    """Return the services that the mesh's settings have logs go to, whether or not they are there."""
    service = spec.default_config.envoy_access_log_service
    if not spec.enable_envoy_access_log_service or service is None or not service.address:
        return ()
    place = service_at(db, service.address)
    return tuple(kind(service=place.service, port=place.port) for kind in (HttpGrpcLogProvider, TcpGrpcLogProvider))


def _format_of_settings(spec: MeshConfigSpec) -> TextFormat | JsonFormat:
    if spec.access_log_encoding == "JSON":
        return JsonFormat(spec.access_log_format or DEFAULT_FIELDS)
    return TextFormat(_line(spec.access_log_format))


def _line(text: str) -> str:
    if not text:
        return DEFAULT_TEXT
    return text if text.endswith("\n") else f"{text}\n"


def _sink(db: Database, provider: ExtensionProvider, side: Side) -> LogSink | None:
    """Return where the logs of ``provider`` go on ``side``; ``None`` where it takes none, or is a service that is not there."""
    match provider.access_log:
        case FileLogProvider() as file:
            return _file(file, provider.name, mesh_spec(db))
        case OpenTelemetryLogProvider() as otlp:
            address = provider_address(db, otlp, side)
            return _otlp(otlp, address) if address else None
        case TcpGrpcLogProvider() as service:
            address = provider_address(db, service, side)
            return _log_service(service, address) if address else None
        case None:
            return None


def _file(provider: FileLogProvider, name: str, spec: MeshConfigSpec) -> FileLog:
    written = provider.log_format
    if written and written.labels:
        lines: TextFormat | JsonFormat = JsonFormat(written.labels)
    elif written and written.text:
        lines = TextFormat(_line(written.text))
    else:
        lines = _format_of_settings(spec) if name.casefold() == BUILT_IN else TextFormat(DEFAULT_TEXT)
    return FileLog(provider.path or "/dev/stdout", lines, provider.omit_empty_values)


def _log_service(provider: TcpGrpcLogProvider, address: ProviderAddress) -> LogService:
    if isinstance(provider, HttpGrpcLogProvider):
        return LogService(
            address=address,
            log_name=provider.log_name or "http_envoy_accesslog",
            of_requests=True,
            filter_states=provider.filter_state_objects_to_log,
            request_headers=provider.additional_request_headers_to_log,
            response_headers=provider.additional_response_headers_to_log,
            response_trailers=provider.additional_response_trailers_to_log,
        )
    return LogService(
        address=address,
        log_name=provider.log_name or "tcp_envoy_accesslog",
        of_requests=False,
        filter_states=provider.filter_state_objects_to_log,
    )


def _otlp(provider: OpenTelemetryLogProvider, address: ProviderAddress) -> OtlpLog:
    written = provider.log_format
    return OtlpLog(
        address=address,
        log_name=provider.log_name or "otel_envoy_accesslog",
        body=written.text if written and written.text else DEFAULT_TEXT.rstrip("\n"),  # a record is no line
        attributes=tuple(sorted(written.labels.items())) if written else (),
    )
