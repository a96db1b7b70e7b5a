"""The names of workloads by which metrics are labelled, and whether somebody counts by them."""

from __future__ import annotations

from controlplane.incremental.database import Database, Failed, eager_query, query
from controlplane.mesh.facets import entry_at, namespaces_with, of_kind
from controlplane.mesh.inputs import index, objects
from controlplane.mesh.registry.endpoints import workload_instance
from controlplane.model.identity import Identity
from controlplane.model.keys import POD, TELEMETRY_KIND, Key
from controlplane.model.telemetry.workloads import WorkloadNames, workload_names
from controlplane.objects.extensions.telemetry import Telemetry
from controlplane.objects.mesh.mesh_config import MESH_CONFIG_KEY, MeshConfig
from controlplane.objects.networking.service_entry import WorkloadEntry


@query
def counts_by_names(db: Database) -> bool:
    """Return whether some proxy may be asked to count by the names of workloads and services, so that clusters have to say them."""
    mesh_config = objects(db, MESH_CONFIG_KEY)
    if isinstance(mesh_config, MeshConfig) and mesh_config.spec.default_providers.metrics:
        return True
    namespaces = (place.namespace for place in index(db, namespaces_with(TELEMETRY_KIND)))
    return any(_asks_for_metrics(db, key) for namespace in namespaces for key in index(db, of_kind(TELEMETRY_KIND, namespace)))


@eager_query
def _asks_for_metrics(db: Database, key: Key) -> bool:
    telemetry = objects(db, key)
    return isinstance(telemetry, Telemetry) and any(entry.providers for entry in telemetry.spec.metrics)


@query
def workload_of(db: Database, namespace: str, name: str, ips: tuple[str, ...]) -> str:
    """Return what the pod ``name`` of ``namespace`` is a part of, or else the WorkloadEntry at one of ``ips``; empty: none is known."""
    if (instance := workload_instance(db, POD.key(namespace, name))) is not None:
        return instance.workload
    entries = (objects(db, key) for address in ips for key in sorted(index(db, entry_at(namespace, address))))
    return next((entry.workload for entry in entries if isinstance(entry, WorkloadEntry)), "")


@query
def names_in_certificate(db: Database, who: Identity, pod: str) -> WorkloadNames | None:
    """Return the names of the workload of ``pod``, to which a token of ``who`` is bound; ``None`` where that account has no such pod.

    While nobody counts by them it is ``None`` as well, so that a certificate says no more than it has to.
    """
    if not pod or not counts_by_names(db):
        return None
    instance = workload_instance(db, POD.key(who.namespace, pod))
    if instance is None or instance.account != who.service_account:
        return None
    return workload_names(instance.workload, who.namespace, dict(instance.labels))


class CountedWorkloads:
    """Whether proxies are asked to count by the names of workloads, and by which: for those who know no queries."""

    def __init__(self, db: Database) -> None:
        """Ask ``db``."""
        self._db = db

    @property
    def wanted(self) -> bool:
        """Return whether some proxy is asked to count so."""
        return self._db.attempt(counts_by_names) is True

    def names_in_certificate(self, who: Identity, pod: str) -> WorkloadNames | None:
        """Return the names of the workload of ``pod``, which runs as ``who``, for its certificate; ``None``: that says none."""
        return None if isinstance(names := self._db.attempt(names_in_certificate, who, pod), Failed) else names
