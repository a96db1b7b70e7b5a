"""What the mesh's settings must keep to where they say what telemetry is and where it goes."""

from __future__ import annotations

from collections.abc import Iterator

from controlplane.objects.mesh.extension_providers import ExtensionProvider
from controlplane.objects.mesh.telemetry_providers import (
    FileLogProvider,
    Headers,
    HttpGrpcLogProvider,
    LogProvider,
    OpenTelemetryLogProvider,
    OpenTelemetryProvider,
    ServiceProvider,
    TracingProvider,
    ZipkinProvider,
)
from controlplane.objects.networking.proxy_config import ProxySettings
from controlplane.objects.telemetry.proxy_tracing import ProxyTracing
from controlplane.objects.telemetry.rules import check_format, check_json_format, check_tag
from controlplane.objects.types.findings import Finding
from controlplane.objects.types.names import is_fqdn, is_header, is_label
from controlplane.objects.types.rules import conflict, out_of_range, warning

_KINDS = ("zipkin", "datadog", "skywalking", "opentelemetry", "envoy_file_access_log", "envoy_http_als", "envoy_tcp_als", "envoy_otel_als")


def check_provider(path: str, provider: ExtensionProvider) -> Iterator[Finding]:
    """Yield what is wrong with ``provider``, at ``path``, as one that telemetry goes to."""
    for kind in _KINDS:
        written = getattr(provider, kind)
        if written is not None:
            yield from _check(f"{path}.{type(provider).model_fields[kind].alias}", written)


def check_proxies(path: str, settings: ProxySettings) -> Iterator[Finding]:
    """Yield what is wrong with the ``settings`` of proxies, at ``path``, as far as they are about telemetry."""
    tracing = settings.tracing or ProxyTracing()
    services = (
        ("envoyAccessLogService", settings.envoy_access_log_service),
        ("tracing.zipkin", tracing.zipkin),
        ("tracing.datadog", tracing.datadog),
    )
    for field, service in services:
        if service and not service.address:
            yield warning(f"{path}.{field}", "Ineffective", "without an address nothing goes there")
    for name, tag in tracing.custom_tags.items():
        yield from check_tag(f"{path}.tracing.customTags.{name}", tag)


def check_log_settings(path: str, file: str, encoding: str, written: str) -> Iterator[Finding]:
    """Yield what is wrong with the settings of access logs at ``path``: to ``file``, in ``encoding``, in the format ``written``."""
    if file:
        yield from _check_file(f"{path}.accessLogFile", file)
    if written:
        check = check_json_format if encoding == "JSON" else check_format
        yield from check(f"{path}.accessLogFormat", written)


def _check(path: str, written: TracingProvider | LogProvider) -> Iterator[Finding]:
    if isinstance(written, ServiceProvider):
        yield from _check_service(path, written)
    match written:
        case ZipkinProvider():
            yield from _check_path(f"{path}.path", written.path)
            yield from _check_headers(f"{path}.headers", written.headers)
        case OpenTelemetryProvider():
            yield from _check_otlp(path, written)
        case FileLogProvider():
            yield from _check_file(f"{path}.path", written.path)
            yield from _check_lines(f"{path}.logFormat", written)
        case HttpGrpcLogProvider():
            named = (
                ("additionalRequestHeadersToLog", written.additional_request_headers_to_log),
                ("additionalResponseHeadersToLog", written.additional_response_headers_to_log),
                ("additionalResponseTrailersToLog", written.additional_response_trailers_to_log),
            )
            for field, names in named:
                yield from (
                    out_of_range(f"{path}.{field}[{index}]", "the name of a header", name)
                    for index, name in enumerate(names)
                    if not is_header(name)
                )
        case OpenTelemetryLogProvider(log_format=written_format) if written_format:
            yield from check_format(f"{path}.logFormat.text", written_format.text)
            for name, text in written_format.labels.items():
                yield from check_format(f"{path}.logFormat.labels.{name}", text)
        case _:
            pass


def _check_service(path: str, provider: ServiceProvider) -> Iterator[Finding]:
    namespace, slash, host = provider.service.rpartition("/")
    if not is_fqdn(host) or (slash and not is_label(namespace)):
        yield out_of_range(f"{path}.service", "a host, or namespace/host", provider.service)


def _check_otlp(path: str, provider: OpenTelemetryProvider) -> Iterator[Finding]:
    if provider.http and provider.grpc:
        yield conflict(path, "expected one of http and grpc, found both")
    if provider.http:
        yield from _check_path(f"{path}.http.path", provider.http.path)
        yield from _check_headers(f"{path}.http.headers", provider.http.headers)
    if provider.grpc:
        yield from _check_headers(f"{path}.grpc.initialMetadata", provider.grpc.initial_metadata)


def _check_lines(path: str, provider: FileLogProvider) -> Iterator[Finding]:
    written = provider.log_format
    if written and written.text and written.labels:
        yield conflict(path, "expected one of text and labels, found both")
    if written and written.text:
        yield from check_format(f"{path}.text", written.text)
    if written and written.labels:
        yield from check_json_format(f"{path}.labels", written.labels)


def _check_file(path: str, file: str) -> Iterator[Finding]:
    if file and (not file.startswith("/") or not file.isprintable() or len(file) > 4096):
        yield out_of_range(path, "the path of a file, from / on", file)


def _check_path(path: str, written: str) -> Iterator[Finding]:
    if written and (not written.startswith("/") or not written.isprintable() or " " in written):
        yield out_of_range(path, "a path that begins with /", written)


def _check_headers(path: str, headers: Headers) -> Iterator[Finding]:
    for index, header in enumerate(headers):
        if not is_header(header.name) or header.name.startswith(":"):
            yield out_of_range(f"{path}[{index}].name", "the name of a header", header.name)
        if not header.value.isprintable():
            yield out_of_range(f"{path}[{index}].value", "a text on one line", header.value)
