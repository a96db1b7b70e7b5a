"""The providers of the mesh's settings that traces, access logs and metrics go to.

https://istio.io/latest/docs/reference/config/istio.mesh.v1alpha1/#MeshConfig-ExtensionProvider
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field
from pydantic.alias_generators import to_camel

from controlplane.objects.types.scalars import EMPTY_MAP, Bool, Duration, Host, Model, Port, Struct, Text, TextMap, Texts, UInt, Unsupported


class ServiceProvider(Model):
    """A provider that is a service: ``service`` is its host, or ``NAMESPACE/HOST``."""

    service: Host
    port: Port


class ProviderHeader(Model):
    """A header that goes with what is sent: its ``value``, or that of the variable ``env_name`` of the control plane's environment."""

    name: Text
    value: Text = ""
    env_name: Unsupported[Text] = ""


Headers = tuple[ProviderHeader, ...]


class ZipkinProvider(ServiceProvider):
    """Spans go to a Zipkin."""

    model_config = ConfigDict(frozen=True, extra="ignore", alias_generator=to_camel)

    max_tag_length: UInt | None = None  # of the tag with the request's path, in bytes
    enable_64bit_trace_id: Annotated[Bool, Field(alias="enable64bitTraceId")] = False
    path: Text = ""  # /api/v2/spans where nothing is said
    trace_context_option: Literal["USE_B3", "USE_B3_WITH_W3C_PROPAGATION"] = "USE_B3"
    timeout: Duration | None = None
    headers: Headers = ()


class DatadogProvider(ServiceProvider):
    """Spans go to a Datadog agent."""

    max_tag_length: UInt | None = None


class SkyWalkingProvider(ServiceProvider):
    """Spans go to a SkyWalking receiver, by gRPC."""

    access_token: Text = ""


class OtlpHttp(Model):
    """OTLP by HTTP: where, and with what headers."""

    path: Text = ""  # /v1/traces where nothing is said
    timeout: Duration | None = None
    headers: Headers = ()


class OtlpGrpc(Model):
    """OTLP by gRPC."""

    timeout: Duration | None = None
    initial_metadata: Headers = ()


class Nothing(Model):
    """Something that is there or not; there is nothing to say about it."""


class ResourceDetectors(Model):
    """What finds out more about a proxy, for the resource of its spans."""

    environment: Nothing | None = None  # OTEL_RESOURCE_ATTRIBUTES of the proxy's environment
    dynatrace: Unsupported[Nothing | None] = None


class OpenTelemetryProvider(ServiceProvider):
    """Spans go to an OpenTelemetry collector, by gRPC where nothing is said."""

    max_tag_length: UInt | None = None
    http: OtlpHttp | None = None
    grpc: OtlpGrpc | None = None
    resource_detectors: ResourceDetectors | None = None
    service_attribute_enrichment: Literal["ISTIO_CANONICAL", "OTEL_SEMANTIC_CONVENTIONS"] = "ISTIO_CANONICAL"
    dynatrace_sampler: Unsupported[Struct] = ""


TracingProvider = ZipkinProvider | DatadogProvider | SkyWalkingProvider | OpenTelemetryProvider


class PrometheusProvider(Model):
    """Proxies have metrics to be scraped."""


class FileLogFormat(Model):
    """How lines look: as ``text``, or as JSON with ``labels``."""

    text: Text = ""
    labels: Struct = ""


class FileLogProvider(Model):
    """Access logs go to a file of the proxy."""

    path: Text = "/dev/stdout"
    log_format: FileLogFormat | None = None
    omit_empty_values: Bool = False


class TcpGrpcLogProvider(ServiceProvider):
    """Access logs of connections go to a service that speaks ``envoy.service.accesslog.v3.AccessLogService``."""

    log_name: Text = ""
    filter_state_objects_to_log: Texts = ()


class HttpGrpcLogProvider(TcpGrpcLogProvider):
    """Access logs of requests go to such a service."""

    additional_request_headers_to_log: Texts = ()
    additional_response_headers_to_log: Texts = ()
    additional_response_trailers_to_log: Texts = ()


class OpenTelemetryLogFormat(Model):
    """The body of a record, and its attributes."""

    text: Text = ""
    labels: TextMap = EMPTY_MAP


class OpenTelemetryLogProvider(ServiceProvider):
    """Access logs go to an OpenTelemetry collector, by gRPC."""

    log_name: Text = ""
    log_format: OpenTelemetryLogFormat | None = None


LogProvider = FileLogProvider | HttpGrpcLogProvider | TcpGrpcLogProvider | OpenTelemetryLogProvider
