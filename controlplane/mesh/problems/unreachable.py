"""Endpoints that no proxy is sent to: each is told at the object that writes it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from controlplane.incremental.database import Database
from controlplane.mesh.inputs import objects
from controlplane.mesh.registry.endpoints import selected_workloads
from controlplane.model.endpoint_policy import OWN_PORTS, endpoint_error
from controlplane.model.keys import WORKLOAD_ENTRY
from controlplane.model.problems import Problem, Severity
from controlplane.objects.kubernetes.core import EndpointSlice, KubernetesService
from controlplane.objects.networking.service_entry import ServiceEntry, WorkloadEntry


class WrittenEndpoint(NamedTuple):
    """An endpoint as it is written: in which field, and where it leads."""

    field: str
    address: str
    port: int


def unreachable_endpoints(db: Database, value: KubernetesService | ServiceEntry | WorkloadEntry | EndpointSlice) -> Iterator[Problem]:
    """Yield a Problem for each field of ``value`` that would lead proxies where none is sent."""
    told = set()
    for each in (*_written(value), *_chosen(db, value)):
        if each.field not in told and (fault := endpoint_error(each.address, each.port)):
            told.add(each.field)
            yield Problem(value.key, each.field, Severity.WARNING, "Unreachable", fault)


def _written(value: KubernetesService | ServiceEntry | WorkloadEntry | EndpointSlice) -> Iterator[WrittenEndpoint]:
    match value:
        case KubernetesService():
            if value.spec.type == "ExternalName":
                yield from (WrittenEndpoint("spec.externalName", value.spec.external_name, port.port) for port in value.spec.ports)
        case ServiceEntry():
            yield from _of_entry(value)
        case WorkloadEntry():
            yield from (WrittenEndpoint("spec.address", value.spec.address, port) for port in value.spec.ports.values() or (0,))
        case EndpointSlice():
            for at, each in enumerate(value.endpoints):
                addresses = each.addresses[:1]  # the others are not used
                yield from (WrittenEndpoint(f"endpoints[{at}]", address, port.port or 0) for address in addresses for port in value.ports)


def _of_entry(value: ServiceEntry) -> Iterator[WrittenEndpoint]:
    spec = value.spec
    for port in spec.ports:
        number = port.target_port or port.number
        for at, each in enumerate(spec.endpoints):
            yield WrittenEndpoint(f"spec.endpoints[{at}]", each.address, each.ports.get(port.name, number))
        if not spec.endpoints and spec.workload_selector is None and spec.resolution in ("DNS", "DNS_ROUND_ROBIN"):
            yield from (WrittenEndpoint(f"spec.hosts[{at}]", host, number) for at, host in enumerate(spec.hosts))


def _chosen(db: Database, value: KubernetesService | ServiceEntry | WorkloadEntry | EndpointSlice) -> Iterator[WrittenEndpoint]:
    """Yield the WorkloadEntries that a port of ``value`` would lead to where it is one of a proxy's own."""
    match value:
        case KubernetesService():
            selector, numbers = value.spec.selector, [each.target_port or each.port for each in value.spec.ports]
        case ServiceEntry():
            selector = value.spec.workload_selector.labels if value.spec.workload_selector else {}
            numbers = [each.target_port or each.number for each in value.spec.ports]
        case _:
            return
    for at, number in enumerate(numbers):
        if isinstance(number, int) and number in OWN_PORTS:
            for key in selected_workloads(db, WORKLOAD_ENTRY, value.key.namespace, selector):
                entry = objects(db, key)
                if isinstance(entry, WorkloadEntry) and not entry.spec.ports:
                    yield WrittenEndpoint(f"spec.ports[{at}]", entry.spec.address, number)
