"""Telemetry: which metrics, access logs and traces proxies give.

https://istio.io/latest/docs/reference/config/telemetry/
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from controlplane.model.keys import TELEMETRY_KIND, GroupKind
from controlplane.objects.telemetry.custom_tags import CustomTag
from controlplane.objects.types.metadata import KubernetesObject
from controlplane.objects.types.scalars import EMPTY_MAP, Bool, Double, Duration, Map, Model, Text, Unsupported
from controlplane.objects.types.selectors import Name, SinglePolicyAttachment

WorkloadMode = Literal["CLIENT_AND_SERVER", "CLIENT", "SERVER"]
Metric = Literal[
    "ALL_METRICS",
    "REQUEST_COUNT",
    "REQUEST_DURATION",
    "REQUEST_SIZE",
    "RESPONSE_SIZE",
    "TCP_OPENED_CONNECTIONS",
    "TCP_CLOSED_CONNECTIONS",
    "TCP_SENT_BYTES",
    "TCP_RECEIVED_BYTES",
    "GRPC_REQUEST_MESSAGES",
    "GRPC_RESPONSE_MESSAGES",
]


class ProviderRef(Model):
    """A provider by its name in the mesh's settings."""

    name: Name


class ModeSelector(Model):
    """The side of a request that is meant."""

    mode: WorkloadMode = "CLIENT_AND_SERVER"


class TagOverride(Model):
    """A tag of a metric that is set or taken away; a value is an expression in CEL."""

    operation: Literal["UPSERT", "REMOVE"] = "UPSERT"
    value: Text = ""


class MetricSelector(ModeSelector):
    """One metric, or all."""

    metric: Metric | None = None
    custom_metric: Unsupported[Name | None] = None


class MetricsOverrides(Model):
    """How some metrics differ from what the provider has by default."""

    match: MetricSelector | None = None
    disabled: Bool | None = None
    tag_overrides: Map[TagOverride] = EMPTY_MAP


class Metrics(Model):
    """Metrics, for some providers."""

    providers: tuple[ProviderRef, ...] = ()
    overrides: tuple[MetricsOverrides, ...] = ()
    reporting_interval: Unsupported[Duration | None] = None


class Tracing(Model):
    """Which requests are traced, and what their spans say."""

    match: ModeSelector | None = None
    providers: tuple[ProviderRef, ...] = ()
    random_sampling_percentage: Annotated[Double, Field(ge=0, le=100)] | None = None
    disable_span_reporting: Bool | None = None
    custom_tags: Map[CustomTag] = EMPTY_MAP
    use_request_id_for_trace_sampling: Bool | None = None
    enable_istio_tags: Bool | None = None
    disable_context_propagation: Bool | None = None


class AccessLogFilter(Model):
    """Which requests are logged: an expression in CEL."""

    expression: Text = ""


class AccessLogging(Model):
    """Access logs, for some providers."""

    match: ModeSelector | None = None
    providers: tuple[ProviderRef, ...] = ()
    disabled: Bool | None = None
    filter: AccessLogFilter | None = None


class TelemetrySpec(SinglePolicyAttachment):
    """What the proxies of some workloads tell."""

    tracing: tuple[Tracing, ...] = ()
    metrics: tuple[Metrics, ...] = ()
    access_logging: tuple[AccessLogging, ...] = ()


class Telemetry(KubernetesObject):
    """Which metrics, access logs and traces proxies give."""

    group_kind: ClassVar[GroupKind] = TELEMETRY_KIND

    spec: TelemetrySpec = TelemetrySpec()
