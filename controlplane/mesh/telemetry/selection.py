"""Which Telemetries hold for a proxy, and as whom it reports.

https://istio.io/latest/docs/reference/config/telemetry/
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from controlplane.incremental.database import Database, eager_query, query
from controlplane.mesh.facets import of_kind
from controlplane.mesh.inputs import index, objects
from controlplane.mesh.registry.attachments import is_for, policy_attachment
from controlplane.mesh.registry.mesh_settings import mesh_settings, own_tracing
from controlplane.mesh.registry.workload_names import workload_of
from controlplane.mesh.telemetry.providers import mesh_spec
from controlplane.model.envoy_versions import EnvoyVersion, counts_by_labels, older_formats
from controlplane.model.keys import TELEMETRY_KIND, Key
from controlplane.model.proxies import Proxy
from controlplane.model.services import Labels
from controlplane.objects.extensions.telemetry import Metrics, Telemetry, TelemetrySpec
from controlplane.objects.telemetry.proxy_tracing import ProxyTracing


class Reporter(NamedTuple):
    """The workload whose proxy reports, by names that its replicas share; what is not known is empty."""

    namespace: str
    workload: str
    app: str
    canonical_service: str
    canonical_revision: str
    cluster_id: str
    service: str  # what traces call it
    instance: str = ""  # of what it is one, by the label app.kubernetes.io/instance
    name: str = ""  # what it is, by the label app.kubernetes.io/name
    version: str = ""


class TelemetryScope(NamedTuple):
    """What a proxy tells, as far as objects decide it: proxies that tell the same have equal ones."""

    objects: tuple[Key, ...] = ()  # the Telemetries that hold, from the one that gives way to the one that decides
    reporter: Reporter | None = None  # where something that they ask for depends on it
    tracing: ProxyTracing | None = None  # of its own, before the mesh's
    envoy: EnvoyVersion | None = None  # where it knows less of formats than the newest, and is told some
    counts: bool = False  # it is an Envoy that can count by labels


def telemetry_scope(db: Database, proxy: Proxy, labels: Labels) -> TelemetryScope:
    """Return what ``proxy``, whose labels are ``labels``, tells."""
    keys = effective_telemetries(db, proxy.namespace, labels)
    tracing = own_tracing(db, proxy)
    reports = reporter(db, proxy, labels) if tracing or names_reporter(db, keys) else None
    formats = bool(keys) or reports is not None or has_log_settings(db)
    counts = reports is not None and counts_by_labels(proxy.envoy)
    return TelemetryScope(keys, reports, tracing, older_formats(proxy.envoy) if formats else None, counts=counts)


@query
def effective_telemetries(db: Database, namespace: str, labels: Labels) -> tuple[Key, ...]:
    """Return the Telemetries for a proxy of ``namespace`` with ``labels``, in the order in which later ones override.

    They are the root namespace's, the namespace's own, each the oldest without a selector, and then all that select the proxy, oldest
    first.
    """
    root = mesh_settings(db).root_namespace
    general = [unselective_telemetry(db, place) for place in dict.fromkeys((root, namespace))]
    label_set = frozenset(labels)
    selecting = (
        key
        for key in telemetries_by_age(db, namespace)
        if (target := policy_attachment(db, key)) and target.selective and is_for(target, key, namespace, label_set)
    )
    return (*(key for key in general if key), *selecting)


@query
def unselective_telemetry(db: Database, namespace: str) -> Key | None:
    """Return the Telemetry that holds for all of ``namespace``: the oldest without a selector."""
    keys = telemetries_by_age(db, namespace)
    return next((key for key in keys if (target := policy_attachment(db, key)) and not target.selective), None)


@query
def telemetries_by_age(db: Database, namespace: str) -> tuple[Key, ...]:
    """Return the Telemetries of ``namespace``, oldest first."""
    by_age = [(created, key) for key in index(db, of_kind(TELEMETRY_KIND, namespace)) if (created := _created(db, key)) is not None]
    return tuple(key for _, key in sorted(by_age))


@query
def names_reporter(db: Database, keys: tuple[Key, ...]) -> bool:
    """Return whether something that the Telemetries ``keys`` or the mesh's settings ask for depends on the workload that reports."""
    spec = mesh_spec(db)
    by_settings = spec.default_providers.tracing or spec.default_providers.metrics or spec.default_config.tracing
    return bool(by_settings) or any(written.tracing or written.metrics for written in telemetry_specs(db, keys))


@query
def has_log_settings(db: Database) -> bool:
    """Return whether the mesh's settings ask for access logs."""
    spec = mesh_spec(db)
    return bool(spec.access_log_file or spec.enable_envoy_access_log_service or spec.default_providers.access_logging)


def metrics_entries(db: Database, keys: tuple[Key, ...]) -> tuple[Metrics, ...]:
    """Return what the Telemetries ``keys`` say of metrics, in the order in which later entries override."""
    return tuple(entry for written in telemetry_specs(db, keys) for entry in written.metrics)


def telemetry_specs(db: Database, keys: tuple[Key, ...]) -> Iterator[TelemetrySpec]:
    """Yield what the Telemetries ``keys`` say, in their order."""
    for key in keys:
        telemetry = objects(db, key)
        if isinstance(telemetry, Telemetry):
            yield telemetry.spec


def reporter(db: Database, proxy: Proxy, labels: Labels) -> Reporter:
    """Return as whom ``proxy``, whose labels are ``labels``, reports.

    https://istio.io/latest/docs/reference/config/labels/
    """
    by_name = dict(labels)
    workload = workload_of(db, proxy.namespace, proxy.name, proxy.ips) or proxy.workload
    app = by_name.get("app", "")
    named = (by_name.get(label) for label in ("service.istio.io/canonical-name", "app.kubernetes.io/name"))
    versions = (by_name.get(label) for label in ("service.istio.io/canonical-revision", "app.kubernetes.io/version", "version"))
    canonical_service = next(filter(None, (*named, app, workload)), "")
    return Reporter(
        namespace=proxy.namespace,
        workload=workload,
        app=app,
        canonical_service=canonical_service,
        canonical_revision=next(filter(None, versions), "latest"),
        cluster_id=proxy.cluster_id,
        service=proxy.service or f"{canonical_service or 'istio-proxy'}.{proxy.namespace}",
        instance=by_name.get("app.kubernetes.io/instance", ""),
        name=by_name.get("app.kubernetes.io/name", ""),
        version=by_name.get("version", ""),
    )


@eager_query
def _created(db: Database, key: Key) -> str | None:
    telemetry = objects(db, key)
    return telemetry.meta.seniority if isinstance(telemetry, Telemetry) else None
