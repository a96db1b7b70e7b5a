"""Which services a workload is an instance of, and by which of its ports it serves them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from controlplane.incremental.database import Database, eager_query, query
from controlplane.mesh.facets import SERVICE_NAME_LABEL, entry_at, pod_at, selecting, serving_at, slices_of
from controlplane.mesh.inputs import index, objects
from controlplane.mesh.registry.endpoints import port_at, selected_workloads
from controlplane.mesh.registry.services import ServiceRef, declared_services
from controlplane.model.keys import ENDPOINT_SLICE, POD, SERVICE, Key
from controlplane.model.services import Labels, ServicePort
from controlplane.objects.kubernetes.core import EndpointSlice, KubernetesService, Pod
from controlplane.objects.networking.service_entry import ServiceEntry, WorkloadEntry, WorkloadSpec


@query
def services_of_workload(db: Database, namespace: str, labels: Labels, ips: tuple[str, ...]) -> tuple[ServiceRef, ...]:
    """Return the services of ``namespace`` that a workload is an instance of: they select its labels, or list one of its addresses."""
    workload_labels = set(labels)
    candidates = (key for name, value in labels for key in index(db, selecting(namespace, name, value)))
    keys = {key for key in candidates if (wanted := workload_selector(db, key)) and workload_labels.issuperset(wanted)}
    for address in ips:
        keys.update(_declaring_key(db, key) for key in index(db, serving_at(namespace, address)))
    return tuple(sorted(ServiceRef(declared.host, key) for key in keys for declared in declared_services(db, key)))


@eager_query
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


def workload_port(db: Database, ref: ServiceRef, port: ServicePort, ips: tuple[str, ...]) -> int | None:
    """Return the port that ``port`` of the service ``ref`` leads to at the workload at ``ips``; ``None`` where it leads to none there.

    A named target port is the workload's own: it may differ between the instances of one service.
    """
    target = target_of(db, ref.key, port.number)
    if workload := next((workload for address in ips for workload in _workloads_at(db, ref.key, address)), None):
        return port_at(workload, port.name, target or port.number)
    if isinstance(target, int):
        return target
    pods = [key for address in ips for key in sorted(index(db, pod_at(ref.key.namespace, address)))] if target else []
    if pods:
        return next((number for key in pods if (number := container_port(db, key, target or "")) is not None), None)
    listing = [key for address in ips for key in index(db, serving_at(ref.key.namespace, address)) if key.group_kind == ENDPOINT_SLICE]
    numbers = (*_slice_ports(db, listing, port), *_slice_ports(db, index(db, slices_of(ref.key.namespace, ref.key.name)), port))
    return next(iter(numbers), port.number)


def workload_ports(db: Database, ref: ServiceRef, port: ServicePort) -> tuple[int, ...]:
    """Return the ports that ``port`` of the service ``ref`` leads to at any of its workloads, sorted."""
    target = target_of(db, ref.key, port.number)
    if isinstance(target, int):
        return (target,)
    numbers = set(_slice_ports(db, index(db, slices_of(ref.key.namespace, ref.key.name)), port))
    if target and not numbers:
        pods = selected_workloads(db, POD, ref.key.namespace, dict(workload_selector(db, ref.key)))
        numbers.update(number for key in pods if (number := container_port(db, key, target)) is not None)
    return tuple(sorted(numbers)) or (port.number,)


@eager_query
def target_of(db: Database, key: Key, number: int) -> int | str | None:
    """Return the port of workloads that port ``number`` of the Service or ServiceEntry ``key`` names; ``None`` where it names none."""
    match objects(db, key):
        case KubernetesService() as kubernetes_service:
            service_port = kubernetes_service.ports.get(number)
            return (service_port.target_port if service_port else None) or None
        case ServiceEntry() as service_entry:
            return next((port.target_port for port in service_entry.spec.ports if port.number == number), None) or number
        case _:
            return number


@eager_query
def container_port(db: Database, key: Key, name: str) -> int | None:
    """Return the number of the port ``name`` of the containers of the pod ``key``."""
    pod = objects(db, key)
    return pod.ports.get(name) if isinstance(pod, Pod) else None


@eager_query
def named_port(db: Database, key: Key, name: str) -> int | None:
    """Return the number that the EndpointSlice ``key`` gives the port ``name``."""
    endpoint_slice = objects(db, key)
    return (
        next((slice_port.port for slice_port in endpoint_slice.ports if slice_port.name == name), None)
        if isinstance(endpoint_slice, EndpointSlice)
        else None
    )


def _slice_ports(db: Database, keys: Iterable[Key], port: ServicePort) -> Iterator[int]:
    """Yield the numbers that the EndpointSlices ``keys`` give ``port``."""
    yield from (number for key in sorted(keys) if (number := named_port(db, key, port.name)))


def _workloads_at(db: Database, key: Key, address: str) -> Iterator[WorkloadSpec]:
    """Yield the workloads at ``address`` that the ServiceEntry ``key`` lists, then those of WorkloadEntries."""
    service_entry = objects(db, key)
    if isinstance(service_entry, ServiceEntry):
        yield from (endpoint for endpoint in service_entry.spec.endpoints if endpoint.address == address)
    for entry_key in sorted(index(db, entry_at(key.namespace, address))):
        entry = objects(db, entry_key)
        if isinstance(entry, WorkloadEntry):
            yield entry.spec
