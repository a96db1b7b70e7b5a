"""How proxies trace: what Telemetries say, field by field, and where none names a provider the one of the mesh's settings.

https://istio.io/latest/docs/reference/config/telemetry/#Tracing
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import NamedTuple, TypeVar, assert_never

from controlplane.incremental.database import Database, query
from controlplane.ir.telemetry.listeners import Side
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
from controlplane.mesh.destinations.clusters import ClusterTarget
from controlplane.mesh.registry.mesh_settings import mesh_settings
from controlplane.mesh.telemetry.modes import holds_for
from controlplane.mesh.telemetry.providers import mesh_spec, provider_address, telemetry_provider, telemetry_target
from controlplane.mesh.telemetry.selection import Reporter, TelemetryScope, telemetry_specs
from controlplane.mesh.telemetry.settings_tracer import proxy_tracing, tracer_of_settings
from controlplane.model.access_logs.formats import format_for
from controlplane.model.envoy_versions import FIRST_WITH_FORMAT_TAGS, EnvoyVersion
from controlplane.model.keys import Key
from controlplane.objects.mesh.telemetry_providers import (
    DatadogProvider,
    OpenTelemetryProvider,
    OtlpGrpc,
    ProviderHeader,
    SkyWalkingProvider,
    TracingProvider,
    ZipkinProvider,
)
from controlplane.objects.telemetry.custom_tags import CustomTag
from controlplane.objects.telemetry.proxy_tracing import ProxyTracing

T = TypeVar("T")
_UNKNOWN = "unknown"
_SAMPLING = 1.0  # percent, where nobody says: Istio's
_SPANS_PATH = "/api/v2/spans"  # of Zipkin
_TRACES_PATH = "/v1/traces"  # of OTLP by HTTP
_RBAC = "envoy.filters.http.rbac"
# By tag: what the policies leave of a dry run. https://istio.io/latest/docs/tasks/security/authorization/authz-dry-run/
_DRY_RUN = tuple(
    (f"istio.authorization.dry_run.{action}_policy.{tag}", SpanMetadata(_RBAC, f"istio_dry_run_{action}_shadow_{key}"))
    for action in ("allow", "deny")
    for tag, key in (("name", "effective_policy_id"), ("result", "engine_result"))
)


class MergedTracing(NamedTuple):
    """What Telemetries say of traces on one side of requests together; ``None``: none of them says."""

    provider: str | None = None
    sampling: float | None = None
    disabled: bool = False
    tags: tuple[tuple[str, CustomTag], ...] | None = None
    by_request_id: bool = True
    istio_tags: bool | None = None
    propagates: bool = True


@query
def merged_tracing(db: Database, keys: tuple[Key, ...], side: Side) -> MergedTracing:
    """Return what the Telemetries ``keys`` say of traces on ``side``, the later ones where both say something."""
    defaults = mesh_spec(db).default_providers.tracing
    merged = MergedTracing(provider=defaults[0] if defaults else None)
    for entry in (entry for spec in telemetry_specs(db, keys) for entry in spec.tracing if holds_for(entry.match, side)):
        silent = entry.disable_context_propagation
        merged = MergedTracing(
            provider=entry.providers[0].name if entry.providers else merged.provider,
            sampling=_later(merged.sampling, entry.random_sampling_percentage),
            disabled=_later(merged.disabled, entry.disable_span_reporting),
            tags=tuple(sorted(entry.custom_tags.items(), key=lambda item: item[0])) or merged.tags,
            by_request_id=_later(merged.by_request_id, entry.use_request_id_for_trace_sampling),
            istio_tags=_later(merged.istio_tags, entry.enable_istio_tags),
            propagates=_later(merged.propagates, None if silent is None else not silent),
        )
    return merged


def _later(before: T, written: T | None) -> T:
    return before if written is None else written


@query
def tracing(db: Database, scope: TelemetryScope, side: Side) -> RequestTracing | None:
    """Return how a proxy of ``scope`` traces what it handles on ``side``; ``None``: not at all."""
    if scope.reporter is None:
        return None
    merged = merged_tracing(db, scope.objects, side)
    provider = chosen_tracer(db, scope, side)
    tracer = _tracer(db, provider, scope.reporter, side) if provider else None
    if tracer is None or provider is None:
        return None
    settings = proxy_tracing(db, scope.tracing)
    istio_tags = settings.enable_istio_tags if merged.istio_tags is None else merged.istio_tags
    tags = dict(_istio_tags(db, scope.reporter)) if istio_tags is not False else {}
    tags |= _custom_tags(dict(merged.tags) if merged.tags else settings.custom_tags, scope.envoy)
    return RequestTracing(
        tracer=tracer,
        sampling=_sampling(merged, settings),
        tags=tuple(sorted(tags.items(), key=lambda item: item[0])),
        max_path_length=_tag_length(provider) or settings.max_path_tag_length or None,
        by_request_id=merged.by_request_id,
        propagates=merged.propagates,
    )


def chosen_tracer(db: Database, scope: TelemetryScope, side: Side) -> TracingProvider | None:
    """Return the provider of the spans of a proxy of ``scope`` on ``side``, whether or not its service is there; ``None``: no spans."""
    merged = merged_tracing(db, scope.objects, side)
    if merged.disabled:
        return None
    if merged.provider is None:
        return tracer_of_settings(db, scope.tracing)
    provider = telemetry_provider(db, merged.provider)
    return provider.tracer if provider else None


def trace_targets(db: Database, scope: TelemetryScope, side: Side) -> Iterator[ClusterTarget]:
    """Yield the services that the spans of a proxy of ``scope`` on ``side`` go to."""
    provider = chosen_tracer(db, scope, side)
    if provider and (target := telemetry_target(db, provider, side)):
        yield target


def _sampling(merged: MergedTracing, settings: ProxyTracing) -> float:
    if merged.sampling is not None:
        return merged.sampling
    return _SAMPLING if settings.sampling is None or settings.sampling > 100 else settings.sampling


def _tag_length(provider: TracingProvider) -> int | None:
    return None if isinstance(provider, SkyWalkingProvider) else provider.max_tag_length


def _tracer(db: Database, provider: TracingProvider, reporter: Reporter, side: Side) -> Tracer | None:
    """Return where the spans go that ``reporter`` gives to ``provider`` on ``side``; ``None`` where its service is not there."""
    address = provider_address(db, provider, side)
    if address is None:
        return None
    match provider:
        case ZipkinProvider():
            return ZipkinTracer(
                address=address,
                path=provider.path or _SPANS_PATH,
                long_ids=not provider.enable_64bit_trace_id,
                w3c=provider.trace_context_option == "USE_B3_WITH_W3C_PROPAGATION",
                timeout_ms=provider.timeout,
                headers=_headers(provider.headers),
            )
        case OpenTelemetryProvider():
            return _otlp(provider, OtlpTracer(address=address, service_name=_service_name(provider, reporter)))
        case DatadogProvider():
            return DatadogTracer(address, reporter.service)
        case SkyWalkingProvider():
            return SkyWalkingTracer(address, reporter.service, provider.access_token)
        case _:
            assert_never(provider)


def _otlp(provider: OpenTelemetryProvider, tracer: OtlpTracer) -> OtlpTracer:
    detectors = provider.resource_detectors
    environment = bool(detectors and detectors.environment) or provider.service_attribute_enrichment == "OTEL_SEMANTIC_CONVENTIONS"
    tracer = replace(tracer, environment=environment)
    if http := provider.http:
        return replace(tracer, path=http.path or _TRACES_PATH, timeout_ms=http.timeout, headers=_headers(http.headers))
    grpc = provider.grpc or OtlpGrpc()
    return replace(tracer, timeout_ms=grpc.timeout, headers=_headers(grpc.initial_metadata))


def _service_name(provider: OpenTelemetryProvider, reporter: Reporter) -> str:
    """Return what ``provider`` wants ``reporter`` to be called: as Istio's proxies are, or by OpenTelemetry's rules.

    https://opentelemetry.io/docs/specs/semconv/non-normative/k8s-attributes/
    """
    if provider.service_attribute_enrichment == "ISTIO_CANONICAL":
        return reporter.service
    return reporter.instance or reporter.name or reporter.workload or "unknown_service"


def _headers(headers: tuple[ProviderHeader, ...]) -> Headers:
    return tuple((header.name, header.value) for header in headers)


def _istio_tags(db: Database, reporter: Reporter) -> Iterator[tuple[str, TagValue]]:
    """Yield the tags that Istio gives every span of the proxy of ``reporter``."""
    texts = {
        "istio.canonical_revision": reporter.canonical_revision,
        "istio.canonical_service": reporter.canonical_service or _UNKNOWN,
        "istio.cluster_id": reporter.cluster_id or _UNKNOWN,
        "istio.mesh_id": mesh_settings(db).trust_domain,
        "istio.namespace": reporter.namespace,
    }
    yield from ((name, SpanLiteral(text)) for name, text in texts.items())
    yield from _DRY_RUN


def _custom_tags(tags: Mapping[str, CustomTag], version: EnvoyVersion | None) -> Iterator[tuple[str, TagValue]]:
    """Yield ``tags``, as far as an Envoy of ``version`` takes them."""
    for name, tag in tags.items():
        if tag.literal:
            yield name, SpanLiteral(tag.literal.value)
        elif tag.environment:
            yield name, SpanEnvironment(tag.environment.name, tag.environment.default_value)
        elif tag.header:
            yield name, SpanHeader(tag.header.name, tag.header.default_value)
        elif tag.formatter and (version is None or version >= FIRST_WITH_FORMAT_TAGS):
            yield name, SpanFormat(format_for(tag.formatter.value, version))
