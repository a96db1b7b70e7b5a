"""Endpoints that no proxy is sent to: each is reported at the object that declares it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from controlplane.incremental.database import Database
from controlplane.mesh.inputs import objects
from controlplane.mesh.registry.endpoints import selected_workloads
from controlplane.mesh.registry.mesh_settings import mesh_settings
from controlplane.model.endpoint_policy import OWN_PORTS, endpoint_error
from controlplane.model.keys import POD, WORKLOAD_ENTRY
from controlplane.model.problems import Problem, Severity
from controlplane.objects.kubernetes.core import EndpointSlice, KubernetesService
from controlplane.objects.networking.service_entry import ServiceEntry, WorkloadEntry


class WrittenEndpoint(NamedTuple):
    """An endpoint as it is written: in which field, and where it leads."""

    field: str
    address: str
    port: int


def unreachable_endpoints(db: Database, obj: KubernetesService | ServiceEntry | WorkloadEntry | EndpointSlice) -> Iterator[Problem]:
    """Yield a Problem for each field of ``obj`` that would lead proxies where none is sent."""
    reported = set()
    sockets = mesh_settings(db).socket_endpoints
    for endpoint in (*_written_endpoints(obj), *_selected_endpoints(db, obj)):
        if endpoint.field not in reported and (fault := endpoint_error(endpoint.address, endpoint.port, sockets=sockets)):
            reported.add(endpoint.field)
            yield Problem(obj.key, endpoint.field, Severity.WARNING, "Unreachable", fault)


def _written_endpoints(obj: KubernetesService | ServiceEntry | WorkloadEntry | EndpointSlice) -> Iterator[WrittenEndpoint]:
    match obj:
        case KubernetesService():
            if obj.spec.type == "ExternalName":
                yield from (WrittenEndpoint("spec.externalName", obj.spec.external_name, port.port) for port in obj.spec.ports)
        case ServiceEntry():
            yield from _service_entry_endpoints(obj)
        case WorkloadEntry():
            yield from (WrittenEndpoint("spec.address", obj.spec.address, port) for port in obj.spec.ports.values() or (0,))
        case EndpointSlice():
            for position, slice_endpoint in enumerate(obj.endpoints):
                addresses = slice_endpoint.addresses[:1]  # the others are not used
                yield from (
                    WrittenEndpoint(f"endpoints[{position}]", address, port.port or 0) for address in addresses for port in obj.ports
                )


def _service_entry_endpoints(service_entry: ServiceEntry) -> Iterator[WrittenEndpoint]:
    spec = service_entry.spec
    for port in spec.ports:
        number = port.target_port or port.number
        for position, endpoint in enumerate(spec.endpoints):
            yield WrittenEndpoint(f"spec.endpoints[{position}]", endpoint.address, endpoint.ports.get(port.name, number))
        if not spec.endpoints and spec.workload_selector is None and spec.resolution in ("DNS", "DNS_ROUND_ROBIN"):
            yield from (WrittenEndpoint(f"spec.hosts[{position}]", host, number) for position, host in enumerate(spec.hosts))


def _selected_endpoints(db: Database, obj: KubernetesService | ServiceEntry | WorkloadEntry | EndpointSlice) -> Iterator[WrittenEndpoint]:
    """Yield the WorkloadEntries that a port of ``obj`` would lead to where it is one of a proxy's own."""
    match obj:
        case KubernetesService():
            selector, numbers = obj.spec.selector, [service_port.target_port or service_port.port for service_port in obj.spec.ports]
        case ServiceEntry():
            selector = obj.spec.workload_selector.labels if obj.spec.workload_selector else {}
            numbers = [service_port.target_port or service_port.number for service_port in obj.spec.ports]
        case _:
            return
    for position, number in enumerate(numbers):
        if isinstance(number, int) and number in OWN_PORTS:
            for key in selected_workloads(db, WORKLOAD_ENTRY, obj.key.namespace, selector):
                entry = objects(db, key)
                if isinstance(entry, WorkloadEntry) and not entry.spec.ports:
                    yield WrittenEndpoint(f"spec.ports[{position}]", entry.spec.address, number)


def round_robin_problems(db: Database, obj: KubernetesService | ServiceEntry) -> Iterator[Problem]:
    """Yield that ``obj`` asks for one name whose addresses take turns, and selects several instances: Envoy takes one alone there."""
    if not isinstance(obj, ServiceEntry) or obj.spec.resolution != "DNS_ROUND_ROBIN" or obj.spec.workload_selector is None:
        return
    selector = obj.spec.workload_selector.labels
    count = sum(len(selected_workloads(db, kind, obj.key.namespace, selector)) for kind in (POD, WORKLOAD_ENTRY))
    if count > 1:
        message = f"{count} instances are selected, and DNS_ROUND_ROBIN is for one: requests go to all of them, as with DNS"
        yield Problem(obj.key, "spec.resolution", Severity.WARNING, "Ineffective", message)
