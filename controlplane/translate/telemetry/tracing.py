"""Tracing of HTTP connection managers: the provider, how much is sampled, and the tags of spans."""

from __future__ import annotations

from typing import assert_never

from envoy.config.core.v3.grpc_service_pb2 import GrpcService
from envoy.config.core.v3.http_service_pb2 import HttpService
from envoy.config.trace.v3.datadog_pb2 import DatadogConfig
from envoy.config.trace.v3.http_tracer_pb2 import Tracing as TracingMessage
from envoy.config.trace.v3.opentelemetry_pb2 import OpenTelemetryConfig
from envoy.config.trace.v3.skywalking_pb2 import SkyWalkingConfig
from envoy.config.trace.v3.zipkin_pb2 import ZipkinConfig
from envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2 import (
    HttpConnectionManager,
    RequestIDExtension,
)
from envoy.extensions.request_id.uuid.v3.uuid_pb2 import UuidRequestIdConfig
from envoy.extensions.tracers.opentelemetry.resource_detectors.v3.environment_resource_detector_pb2 import (
    EnvironmentResourceDetectorConfig,
)
from envoy.type.tracing.v3.custom_tag_pb2 import CustomTag

from controlplane.envoy.packing import pack
from controlplane.ir.telemetry.access_logs import ProviderAddress
from controlplane.ir.telemetry.traces import (
    DatadogTracer,
    Headers,
    OtlpTracer,
    RequestTracing,
    SkyWalkingTracer,
    SpanEnvironment,
    SpanFormat,
    SpanHeader,
    SpanLiteral,
    SpanMetadata,
    TagValue,
    Tracer,
    ZipkinTracer,
)
from controlplane.translate.addresses import milliseconds
from controlplane.translate.telemetry.access_logs import grpc_service

_ZIPKIN, _OTLP, _DATADOG, _SKYWALKING = (f"envoy.tracers.{kind}" for kind in ("zipkin", "opentelemetry", "datadog", "skywalking"))
_NO_CONTEXT_PROPAGATION = b"\x68\x01"  # field 13, true: the Python classes do not have it; Envoys before 1.38 pass it over
_TIMEOUT_MS = 5000  # of a request with spans where nobody says: Istio's


def trace(manager: HttpConnectionManager, tracing: RequestTracing | None, *, at_gateway: bool = False) -> None:
    """Have ``manager`` do what ``tracing`` says; ``at_gateway``: what it asks for in its turn has a span of its own."""
    if tracing is None:
        return
    message = manager.tracing
    message.provider.CopyFrom(_provider(tracing.tracer))
    message.client_sampling.value = 100
    message.overall_sampling.value = 100
    message.random_sampling.value = tracing.sampling
    message.custom_tags.extend(_tag(name, value) for name, value in tracing.tags)
    if tracing.max_path_length is not None:
        message.max_path_tag_length.value = tracing.max_path_length
    if at_gateway or isinstance(tracing.tracer, SkyWalkingTracer):
        message.spawn_upstream_span.value = True
    if not tracing.propagates:
        message.MergeFromString(_NO_CONTEXT_PROPAGATION)
    config = UuidRequestIdConfig(use_request_id_for_trace_sampling={"value": tracing.by_request_id})
    manager.request_id_extension.CopyFrom(RequestIDExtension(typed_config=pack(config)))


def trace_cluster(manager: HttpConnectionManager) -> str:
    """Return the cluster that the spans of ``manager`` go to; empty: there are none."""
    provider = manager.tracing.provider
    value = provider.typed_config.value
    match provider.name:
        case "envoy.tracers.zipkin":
            return ZipkinConfig.FromString(value).collector_service.http_uri.cluster
        case "envoy.tracers.opentelemetry":
            config = OpenTelemetryConfig.FromString(value)
            return config.grpc_service.envoy_grpc.cluster_name or config.http_service.http_uri.cluster
        case "envoy.tracers.datadog":
            return DatadogConfig.FromString(value).collector_cluster
        case "envoy.tracers.skywalking":
            return SkyWalkingConfig.FromString(value).grpc_service.envoy_grpc.cluster_name
        case _:
            return ""


def _provider(tracer: Tracer) -> TracingMessage.Http:
    match tracer:
        case ZipkinTracer():
            return TracingMessage.Http(name=_ZIPKIN, typed_config=pack(_zipkin(tracer)))
        case OtlpTracer():
            return TracingMessage.Http(name=_OTLP, typed_config=pack(_otlp(tracer)))
        case DatadogTracer(address, service_name):
            config = DatadogConfig(collector_cluster=address.cluster, collector_hostname=address.host, service_name=service_name)
            return TracingMessage.Http(name=_DATADOG, typed_config=pack(config))
        case SkyWalkingTracer(address, service_name, token):
            client = {"service_name": service_name, "backend_token": token}
            skywalking = SkyWalkingConfig(grpc_service=grpc_service(address), client_config=client)
            return TracingMessage.Http(name=_SKYWALKING, typed_config=pack(skywalking))
        case _:
            assert_never(tracer)


def _zipkin(tracer: ZipkinTracer) -> ZipkinConfig:
    option = ZipkinConfig.USE_B3_WITH_W3C_PROPAGATION if tracer.w3c else ZipkinConfig.USE_B3
    message = ZipkinConfig(
        collector_endpoint_version=ZipkinConfig.HTTP_JSON,
        trace_id_128bit=tracer.long_ids,
        shared_span_context={"value": False},
        trace_context_option=option,
    )
    message.collector_service.CopyFrom(_http_service(tracer.address, tracer.path, tracer.timeout_ms, tracer.headers))
    return message


def _http_service(address: ProviderAddress, path: str, timeout_ms: int | None, headers: Headers) -> HttpService:
    timeout = milliseconds(_TIMEOUT_MS if timeout_ms is None else timeout_ms)
    message = HttpService(http_uri={"uri": f"http://{address.host}{path}", "cluster": address.cluster, "timeout": timeout})
    for name, value in headers:
        message.request_headers_to_add.add(header={"key": name, "value": value})
    return message


def _otlp(tracer: OtlpTracer) -> OpenTelemetryConfig:
    message = OpenTelemetryConfig(service_name=tracer.service_name)
    if tracer.path:
        message.http_service.CopyFrom(_http_service(tracer.address, tracer.path, tracer.timeout_ms, tracer.headers))
    else:
        message.grpc_service.CopyFrom(_grpc(tracer))
    if tracer.environment:
        detector = message.resource_detectors.add(name="envoy.tracers.opentelemetry.resource_detectors.environment")
        detector.typed_config.CopyFrom(pack(EnvironmentResourceDetectorConfig()))
    return message


def _grpc(tracer: OtlpTracer) -> GrpcService:
    message = grpc_service(tracer.address)
    if tracer.timeout_ms is not None:
        message.timeout.CopyFrom(milliseconds(tracer.timeout_ms))
    for name, value in tracer.headers:
        message.initial_metadata.add(key=name, value=value)
    return message


def _tag(name: str, value: TagValue) -> CustomTag:
    match value:
        case SpanLiteral(text):
            return CustomTag(tag=name, literal={"value": text})
        case SpanEnvironment(variable, default):
            return CustomTag(tag=name, environment={"name": variable, "default_value": default})
        case SpanHeader(header, default):
            return CustomTag(tag=name, request_header={"name": header, "default_value": default})
        case SpanFormat(text):
            return CustomTag(tag=name, value=text)
        case SpanMetadata(by, key):
            return CustomTag(tag=name, metadata={"kind": {"request": {}}, "metadata_key": {"key": by, "path": [{"key": key}]}})
        case _:
            assert_never(value)
