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
    workload_labels = set(labels)
    candidates = (key for kind in (SERVICE, SERVICE_ENTRY) for key in index(db, of_kind(kind, namespace)))
    keys = {key for key in candidates if (wanted := workload_selector(db, key)) and workload_labels.issuperset(wanted)}
    for address in ips:
        keys.update(_declaring_key(db, key) for key in index(db, serving_at(namespace, address)))
    return tuple(sorted(ServiceRef(declared.host, key) for key in keys for declared in declared_services(db, key)))


@query
def workload_selector(db: Database, key: Key) -> Labels:
    """Return the labels by which the Service or ServiceEntry ``key`` selects workloads, sorted."""
    match objects(db, key):
        case KubernetesService() as kubernetes_service:
            return tuple(sorted(kubernetes_service.spec.selector.items()))
        case ServiceEntry() as service_entry if service_entry.spec.workload_selector:
            return tuple(sorted(service_entry.spec.workload_selector.labels.items()))
        case _:
            return ()


def _declaring_key(db: Database, key: Key) -> Key:
    endpoint_slice = objects(db, key)
    return (
        SERVICE.key(key.namespace, endpoint_slice.meta.labels.get(SERVICE_NAME_LABEL, ""))
        if isinstance(endpoint_slice, EndpointSlice)
        else key
    )


def workload_port(db: Database, ref: ServiceRef, port: ServicePort) -> int:
    """Return the port of a workload that ``port`` of the service ``ref`` leads to."""
    declaring_object = objects(db, ref.key)
    match declaring_object:
        case KubernetesService():
            target = next(
                (service_port.target_port for service_port in declaring_object.spec.ports if service_port.port == port.number), None
            )
            return target if isinstance(target, int) and target else _port_by_name(db, ref.key, port) or port.number
        case ServiceEntry():
            return (
                next((service_port.target_port for service_port in declaring_object.spec.ports if service_port.number == port.number), None)
                or port.number
            )
        case _:
            return port.number


@query
def named_port(db: Database, key: Key, name: str) -> int | None:
    """Return the number that the EndpointSlice ``key`` gives the port ``name``."""
    endpoint_slice = objects(db, key)
    return (
        next((slice_port.port for slice_port in endpoint_slice.ports if slice_port.name == name), None)
        if isinstance(endpoint_slice, EndpointSlice)
        else None
    )


def _port_by_name(db: Database, key: Key, port: ServicePort) -> int | None:
    keys = sorted(index(db, slices_of(key.namespace, key.name)))
    return next((number for slice_key in keys if (number := named_port(db, slice_key, port.name))), None)
