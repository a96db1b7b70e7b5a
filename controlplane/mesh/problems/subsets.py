"""Subsets that no instance of their service is in: requests to them are answered 503."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from controlplane.incremental.database import Database
from controlplane.mesh.inputs import objects
from controlplane.mesh.registry.endpoints import selected_workloads
from controlplane.mesh.registry.services import ServiceRef
from controlplane.mesh.registry.workload_services import workload_selector
from controlplane.model.keys import POD, WORKLOAD_ENTRY, Key
from controlplane.model.problems import Problem, Severity
from controlplane.objects.networking.destination_rule import DestinationRule
from controlplane.objects.networking.service_entry import ServiceEntry


def empty_subsets(db: Database, rule: DestinationRule, ref: ServiceRef) -> Iterator[Problem]:
    """Yield which subsets of ``rule`` have none of the instances of the service ``ref``, where some are known."""
    for position, subset in enumerate(rule.spec.subsets):
        if subset.labels and _has_instances(db, ref, {}) and not _has_instances(db, ref, subset.labels):
            labels = ", ".join(f"{name}={label}" for name, label in sorted(subset.labels.items()))
            message = f"no instance of {ref.host} has the labels {labels}: requests to this subset are answered 503"
            yield Problem(rule.key, f"spec.subsets[{position}].labels", Severity.WARNING, "NoWorkload", message)


def _has_instances(db: Database, ref: ServiceRef, labels: Mapping[str, str]) -> bool:
    """Return whether ``ref`` is known to have an instance with ``labels``."""
    service_object = objects(db, ref.key)
    if isinstance(service_object, ServiceEntry) and service_object.spec.endpoints:
        return any(labels.items() <= endpoint.labels.items() for endpoint in service_object.spec.endpoints)
    return any(_selected(db, ref.key, dict(labels)))


def _selected(db: Database, key: Key, labels: dict[str, str]) -> Iterator[bool]:
    """Yield that there are pods, or WorkloadEntries, that the service ``key`` selects, with ``labels``."""
    selector = dict(workload_selector(db, key))
    if not selector or any(labels.get(name, value) != value for name, value in selector.items()):
        return
    for kind in (POD, WORKLOAD_ENTRY):
        yield bool(selected_workloads(db, kind, key.namespace, {**selector, **labels}))
