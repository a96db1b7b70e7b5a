"""The faults that drills make in a service: told at the service for as long as they are there, and where they have no effect, why."""

from __future__ import annotations

from collections.abc import Iterator

from controlplane.incremental.database import Database
from controlplane.mesh.faults.places import MOST_CLUSTERS, clusters_of, fault_places, is_in_force
from controlplane.mesh.faults.selection import caller_uris, carries_requests, fault_of, fault_ports
from controlplane.mesh.inputs import faults_of_host
from controlplane.mesh.registry.endpoints import endpoints
from controlplane.mesh.registry.services import ServiceRef, declared_services, service
from controlplane.model.faults.faults import ALL_WORKLOADS, DrillFault, FaultSide
from controlplane.model.faults.kinds import CloseConnections, DistrustCallers, EndpointFault, PartCallers, SwallowRequests
from controlplane.model.problems import Problem, Severity
from controlplane.model.services import Resolution, ServicePort
from controlplane.objects.kubernetes.core import KubernetesService
from controlplane.objects.networking.service_entry import ServiceEntry

_OF_CONNECTIONS = CloseConnections | PartCallers | DistrustCallers | SwallowRequests


def fault_problems(db: Database, service_object: KubernetesService | ServiceEntry) -> Iterator[Problem]:
    """Yield what drills make of the services of ``service_object``."""
    key = service_object.key
    for host in dict.fromkeys(declared.host for declared in declared_services(db, key)):
        for fault_id in sorted(faults_of_host(db, host)):
            fault = fault_of(db, fault_id)
            if fault is None:
                continue
            if why := without_effect(db, fault):
                yield Problem(key, "", Severity.WARNING, "Ineffective", f"the fault {fault_id} has no effect on {host}: {why}")
            elif is_in_force(db, fault_id):
                message = f"a drill is in force: {fault.kind.words} at the {fault.acts_at}, by {fault_id} on {host}"
                yield Problem(key, "", Severity.INFO, "DrillInForce", message)
            if fault.acts_at is FaultSide.CALLER and len(clusters_of(db, fault)) == MOST_CLUSTERS:
                message = f"the fault {fault_id} is for the first {MOST_CLUSTERS} ports and subsets of {host} only"
                yield Problem(key, "", Severity.WARNING, "Ineffective", message)


def without_effect(db: Database, fault: DrillFault) -> str:
    """Return why ``fault`` has no effect; empty: it has one."""
    ports = fault_ports(db, fault)
    if not ports:
        return "no such service or port is known"
    if isinstance(fault.kind, EndpointFault):
        return _cannot_choose(db, fault, ports[0][0])
    if not isinstance(fault.kind, _OF_CONNECTIONS) and not any(carries_requests(port) for _, port in ports):
        return "none of its ports carries requests"
    if fault.acts_at is FaultSide.CALLEE and caller_uris(db, fault.id) == ():
        return "no workload is known that it is for, or their accounts are not"
    if fault.acts_at is FaultSide.CALLEE and fault.caller != ALL_WORKLOADS and not _take_certificates(db, ports):
        return "callers are known by certificates, and its instances take none"
    if not fault_places(db, fault.id) and not isinstance(fault.kind, _OF_CONNECTIONS):
        return "it has no instances"
    return ""


def _take_certificates(db: Database, ports: list[tuple[ServiceRef, ServicePort]]) -> bool:
    return any(endpoint.mutual_tls for ref, port in ports for endpoint in endpoints(db, ref, port.number))


def _cannot_choose(db: Database, fault: DrillFault, ref: ServiceRef) -> str:
    found = service(db, ref)
    if found is None or found.resolution is not Resolution.ENDPOINTS:
        return "its instances come from DNS"
    if found.by_address:
        return "clients choose its instances themselves"
    others = (fault_of(db, each) for each in sorted(faults_of_host(db, fault.host)))
    first = next(each for each in others if each and isinstance(each.kind, EndpointFault))
    return "" if first.id == fault.id else f"{first.id} takes out instances already"
