"""Which metrics a proxy counts, and with which labels: what Telemetries say of them, in the order in which later ones override.

https://istio.io/latest/docs/reference/config/telemetry/#Metrics
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from controlplane.incremental.database import Database, query
from controlplane.ir.telemetry.listeners import Side
from controlplane.ir.telemetry.metrics import CountedBy, CountedMetric, StandardMetric
from controlplane.mesh.registry.mesh_settings import mesh_settings
from controlplane.mesh.telemetry.modes import holds_for
from controlplane.mesh.telemetry.providers import mesh_spec, telemetry_provider
from controlplane.mesh.telemetry.selection import Reporter, TelemetryScope, metrics_entries
from controlplane.model.keys import Key
from controlplane.model.telemetry.label_formats import label_format
from controlplane.model.telemetry.workloads import CLUSTER, WorkloadNames, known
from controlplane.objects.extensions.telemetry import Metrics, MetricSelector, MetricsOverrides

ALL = "ALL_METRICS"


@query
def counted_by(db: Database, scope: TelemetryScope, side: Side) -> CountedBy | None:
    """Return what the proxies of ``scope`` count on ``side``; ``None`` where it is nothing."""
    if scope.reporter is None:
        return None
    metrics = counted_metrics(db, scope.objects, side)
    return CountedBy(_names(scope.reporter), metrics, plain_names=mesh_settings(db).plain_metric_names) if metrics else None


@query
def counted_metrics(db: Database, keys: tuple[Key, ...], side: Side) -> tuple[CountedMetric, ...]:
    """Return the metrics that the Telemetries ``keys`` ask for on ``side``."""
    overrides = active_overrides(metrics_entries(db, keys), mesh_spec(db).default_providers.metrics)
    chosen = next((of_provider for name, of_provider in overrides.items() if is_prometheus(db, name)), None)
    return () if chosen is None else _on_side(side, chosen)


def is_prometheus(db: Database, name: str) -> bool:
    """Return whether the provider ``name`` reads what proxies count."""
    provider = telemetry_provider(db, name)
    return provider is not None and provider.prometheus is not None


def active_overrides(entries: Iterable[Metrics], defaults: Iterable[str]) -> Mapping[str, list[MetricsOverrides]]:
    """Return the overrides by the names of the providers that ``entries`` end with, ``defaults`` where none of them names one."""
    overrides: dict[str, list[MetricsOverrides]] = {name.casefold(): [] for name in defaults}
    active = list(overrides)
    for entry in entries:
        if entry.providers:
            active = [ref.name.casefold() for ref in entry.providers]
        for name in active:
            overrides.setdefault(name, []).extend(entry.overrides)
    return {name: overrides[name] for name in active}


def _on_side(side: Side, overrides: Iterable[MetricsOverrides]) -> tuple[CountedMetric, ...]:
    """Return what is counted on ``side`` by ``overrides``, of which later ones win, metric by metric and label by label."""
    enabled = dict.fromkeys(StandardMetric, True)
    labels: dict[StandardMetric, dict[str, str | None]] = {metric: {} for metric in StandardMetric}
    for override in overrides:
        if not holds_for(override.match, side):
            continue
        for metric in _matched(override.match):
            if override.disabled is not None:
                enabled[metric] = not override.disabled
            for name, tag in override.tag_overrides.items():
                labels[metric][name] = label_format(tag.value) if tag.operation == "UPSERT" else None
    return tuple(CountedMetric(metric, tuple(sorted(labels[metric].items()))) for metric in StandardMetric if enabled[metric])


def _matched(match: MetricSelector | None) -> Iterator[StandardMetric]:
    """Yield the metrics that ``match`` names: all where it names none, and of custom ones there are none."""
    if match and match.custom_metric is not None:
        return
    named = match.metric if match and match.metric else ALL
    yield from (metric for metric in StandardMetric if named in (ALL, metric))


def _names(reporter: Reporter) -> WorkloadNames:
    return WorkloadNames(
        workload=known(reporter.workload),
        namespace=known(reporter.namespace),
        app=known(reporter.app),
        version=known(reporter.version),
        canonical_service=known(reporter.canonical_service),
        canonical_revision=known(reporter.canonical_revision),
        cluster=known(reporter.cluster_id or CLUSTER),
    )
