"""Which services a workload is an instance of, and by which of its ports it serves them."""

from __future__ import annotations

from controlplane.incremental.database import Database, query
from controlplane.mesh.inputs import SERVICE_NAME_LABEL, index, objects, of_kind, serving_at, slices_of
from controlplane.mesh.registry.services import ServiceRef, declared_services
from controlplane.model.keys import SERVICE, SERVICE_ENTRY, Key
from controlplane.model.services import Labels, ServicePort
from controlplane.objects.kubernetes.core import EndpointSlice, KubernetesService
from controlplane.objects.networking.service_entry import ServiceEntry


@query
def services_of_workload(db: Database, namespace: str, labels: Labels, ips: tuple[str, ...]) -> tuple[ServiceRef, ...]:
    """Return the services of ``namespace`` that a workload is an instance of: they select its labels, or list one of its addresses."""
    has = set(labels)
    candidates = (key for kind in (SERVICE, SERVICE_ENTRY) for key in index(db, of_kind(kind, namespace)))
    keys = {key for key in candidates if (wanted := workload_selector(db, key)) and has.issuperset(wanted)}
    for address in ips:
        keys.update(_declaring(db, key) for key in index(db, serving_at(namespace, address)))
    return tuple(sorted(ServiceRef(each.host, key) for key in keys for each in declared_services(db, key)))


@query
def workload_selector(db: Database, key: Key) -> Labels:
    """Return the labels by which the Service or ServiceEntry ``key`` selects workloads, sorted."""
    match objects(db, key):
        case KubernetesService() as value:
            return tuple(sorted(value.spec.selector.items()))
        case ServiceEntry() as value if value.spec.workload_selector:
            return tuple(sorted(value.spec.workload_selector.labels.items()))
        case _:
            return ()


def _declaring(db: Database, key: Key) -> Key:
    part = objects(db, key)
    return SERVICE.key(key.namespace, part.meta.labels.get(SERVICE_NAME_LABEL, "")) if isinstance(part, EndpointSlice) else key


def workload_port(db: Database, ref: ServiceRef, port: ServicePort) -> int:
    """Return the port of a workload that ``port`` of the service ``ref`` leads to."""
    value = objects(db, ref.key)
    match value:
        case KubernetesService():
            target = next((each.target_port for each in value.spec.ports if each.port == port.number), None)
            return target if isinstance(target, int) and target else _listed(db, ref.key, port) or port.number
        case ServiceEntry():
            return next((each.target_port for each in value.spec.ports if each.number == port.number), None) or port.number
        case _:
            return port.number


@query
def named_port(db: Database, key: Key, name: str) -> int | None:
    """Return the number that the EndpointSlice ``key`` gives the port ``name``."""
    part = objects(db, key)
    return next((each.port for each in part.ports if each.name == name), None) if isinstance(part, EndpointSlice) else None


def _listed(db: Database, key: Key, port: ServicePort) -> int | None:
    keys = sorted(index(db, slices_of(key.namespace, key.name)))
    return next((number for each in keys if (number := named_port(db, each, port.name))), None)
