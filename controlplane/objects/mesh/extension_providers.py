"""The providers that the mesh's settings name: authorizers of AuthorizationPolicies that are CUSTOM, and what Telemetries refer to.

https://istio.io/latest/docs/reference/config/istio.mesh.v1alpha1/#MeshConfig-ExtensionProvider
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Annotated

from pydantic import Field

from controlplane.objects.mesh.telemetry_providers import (
    DatadogProvider,
    FileLogProvider,
    HttpGrpcLogProvider,
    LogProvider,
    OpenTelemetryLogProvider,
    OpenTelemetryProvider,
    PrometheusProvider,
    SkyWalkingProvider,
    TcpGrpcLogProvider,
    TracingProvider,
    ZipkinProvider,
)
from controlplane.objects.types.findings import Finding
from controlplane.objects.types.names import is_fqdn, is_header, is_label
from controlplane.objects.types.scalars import EMPTY_MAP, Bool, Duration, Host, Model, Port, Text, TextMap, Texts, UInt
from controlplane.objects.types.validation_errors import for_message

_STATUS = re.compile(r"[2-5][0-9]{2}\Z", re.ASCII)


class RequestBody(Model):
    """How much of a request's body an authorizer is shown."""

    max_request_bytes: Annotated[UInt, Field(ge=1)]
    allow_partial_message: Bool = False
    pack_as_bytes: Bool = False


class Authorizer(Model):
    """Where an authorizer is, and what becomes of requests while it does not answer."""

    service: Host
    port: Port
    timeout: Duration | None = None
    fail_open: Bool = False
    clear_route_cache: Bool = False
    status_on_error: Text = ""
    include_request_body_in_check: RequestBody | None = None


class GrpcAuthorizer(Authorizer):
    """An authorizer that speaks Envoy's own protocol, ``envoy.service.auth.v3.Authorization``."""


class HttpAuthorizer(Authorizer):
    """An authorizer that is asked by a request like the one in question, without its body."""

    path_prefix: Text = ""
    include_headers_in_check: Texts = ()  # of old
    include_request_headers_in_check: Texts = ()
    include_additional_headers_in_check: TextMap = EMPTY_MAP
    headers_to_upstream_on_allow: Texts = ()
    headers_to_downstream_on_allow: Texts = ()
    headers_to_downstream_on_deny: Texts = ()


class ExtensionProvider(Model):
    """Somebody outside of the proxies whom policies and Telemetries refer to by ``name``: an authorizer, or what telemetry goes to."""

    name: Text
    envoy_ext_authz_http: HttpAuthorizer | None = None
    envoy_ext_authz_grpc: GrpcAuthorizer | None = None
    zipkin: ZipkinProvider | None = None
    datadog: DatadogProvider | None = None
    skywalking: SkyWalkingProvider | None = None
    opentelemetry: OpenTelemetryProvider | None = None
    prometheus: PrometheusProvider | None = None
    envoy_file_access_log: FileLogProvider | None = None
    envoy_http_als: HttpGrpcLogProvider | None = None
    envoy_tcp_als: TcpGrpcLogProvider | None = None
    envoy_otel_als: OpenTelemetryLogProvider | None = None

    @property
    def authorizer(self) -> HttpAuthorizer | GrpcAuthorizer | None:
        """Return who is asked."""
        return self.envoy_ext_authz_http or self.envoy_ext_authz_grpc

    @property
    def tracer(self) -> TracingProvider | None:
        """Return where spans go."""
        return self.zipkin or self.datadog or self.skywalking or self.opentelemetry

    @property
    def access_log(self) -> LogProvider | None:
        """Return where access logs go."""
        return self.envoy_file_access_log or self.envoy_http_als or self.envoy_tcp_als or self.envoy_otel_als


def check(providers: Sequence[ExtensionProvider], path: str) -> Iterator[Finding]:
    """Yield what is wrong with ``providers``, which stand at ``path``."""
    names: set[str] = set()
    for index, provider in enumerate(providers):
        provider_path = f"{path}[{index}]"
        if not provider.name or provider.name in names:
            yield _out_of_range(f"{provider_path}.name", "a name that no other provider has", provider.name)
        names.add(provider.name)
        kinds = [field.alias or name for name, field in type(provider).model_fields.items() if name != "name" and getattr(provider, name)]
        if len(kinds) > 1:
            yield Finding(provider_path, "Conflict", f"expected one of {' and '.join(kinds)}, found both")
        if provider.envoy_ext_authz_http:
            yield from _http(f"{provider_path}.envoyExtAuthzHttp", provider.envoy_ext_authz_http)
        elif provider.envoy_ext_authz_grpc:
            yield from _authorizer(f"{provider_path}.envoyExtAuthzGrpc", provider.envoy_ext_authz_grpc)


def _http(path: str, authorizer: HttpAuthorizer) -> Iterator[Finding]:
    yield from _authorizer(path, authorizer)
    if authorizer.path_prefix and (not authorizer.path_prefix.startswith("/") or not authorizer.path_prefix.isprintable()):
        yield _out_of_range(f"{path}.pathPrefix", "a path that begins with /", authorizer.path_prefix)
    for name in authorizer.include_additional_headers_in_check:
        if not is_header(name):
            yield _out_of_range(f"{path}.includeAdditionalHeadersInCheck", "names of headers", name)
    patterns = (
        ("includeHeadersInCheck", authorizer.include_headers_in_check),
        ("includeRequestHeadersInCheck", authorizer.include_request_headers_in_check),
        ("headersToUpstreamOnAllow", authorizer.headers_to_upstream_on_allow),
        ("headersToDownstreamOnAllow", authorizer.headers_to_downstream_on_allow),
        ("headersToDownstreamOnDeny", authorizer.headers_to_downstream_on_deny),
    )
    for field, headers in patterns:
        for index, header in enumerate(headers):
            if not is_header(header.removeprefix("*").removesuffix("*")):
                yield _out_of_range(f"{path}.{field}[{index}]", "the name of a header, prefix* or *suffix", header)


def _authorizer(path: str, authorizer: Authorizer) -> Iterator[Finding]:
    namespace, slash, host = authorizer.service.rpartition("/")
    if not is_fqdn(host) or (slash and not is_label(namespace)):
        yield _out_of_range(f"{path}.service", "a host, or namespace/host", authorizer.service)
    if authorizer.status_on_error and not _STATUS.match(authorizer.status_on_error):
        yield _out_of_range(f"{path}.statusOnError", "an HTTP status", authorizer.status_on_error)


def _out_of_range(path: str, expected: str, actual: str) -> Finding:
    return Finding(path, "OutOfRange", f"expected {expected}, found {for_message(actual)}")
