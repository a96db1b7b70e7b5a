"""Which workloads faults are for: callers by namespace and labels, or by what their certificates say; callees by the service's host."""

from __future__ import annotations

from collections.abc import Iterable

from controlplane.incremental.database import Database, query
from controlplane.mesh.facets import namespaces_with, of_kind
from controlplane.mesh.inputs import faults, faults_of_callers, faults_of_host, index, objects
from controlplane.mesh.registry.endpoints import endpoints, workload_instance
from controlplane.mesh.registry.mesh_settings import mesh_settings
from controlplane.mesh.registry.services import ServiceRef, declarers, service
from controlplane.model.faults.faults import ALL_WORKLOADS, DrillFault, FaultId, FaultSide, WorkloadSelection
from controlplane.model.keys import POD, WORKLOAD_ENTRY, Key
from controlplane.model.protocols import Protocol
from controlplane.model.services import Endpoint, Labels, ServicePort
from controlplane.model.trust_domains import SPIFFE_SCHEME
from controlplane.objects.networking.service_entry import WorkloadEntry
from controlplane.translate.faults.callers import CallerUri


@query
def fault_of(db: Database, fault_id: FaultId) -> DrillFault | None:
    """Return the fault ``fault_id``, however far it has come."""
    staged = faults(db, fault_id)
    return staged.fault if staged else None


@query
def caller_faults(db: Database, namespace: str, labels: Labels) -> tuple[Key, ...]:
    """Return the faults that a workload or gateway of ``namespace`` with ``labels`` makes in what it sends."""
    ids = sorted(faults_of_callers(db, "") | faults_of_callers(db, namespace))
    found = [fault for fault_id in ids if (fault := fault_of(db, fault_id))]
    return tuple(fault.id.key for fault in found if fault.caller.selects(namespace, labels))


def callee_faults(db: Database, hosts: Iterable[str], namespace: str, labels: Labels, ips: tuple[str, ...]) -> tuple[Key, ...]:
    """Return the faults that an instance of the services ``hosts`` makes in what it gets; it is of ``namespace``, and has ``labels``."""
    ids = sorted(frozenset().union(*(faults_of_host(db, host) for host in sorted(set(hosts)))))
    found = [fault for fault_id in ids if (fault := fault_of(db, fault_id)) and fault.acts_at is FaultSide.CALLEE]
    return tuple(fault.id.key for fault in found if fault.callee.selects(namespace, labels, _locality(db, fault, ips)))


def _locality(db: Database, fault: DrillFault, ips: tuple[str, ...]) -> str:
    if not fault.callee.zone:
        return ""
    at = {endpoint.address: endpoint.locality for ref, port in fault_ports(db, fault) for endpoint in endpoints(db, ref, port.number)}
    return next((at[ip] for ip in ips if ip in at), "")


def fault_ports(db: Database, fault: DrillFault) -> list[tuple[ServiceRef, ServicePort]]:
    """Return the ports of the service that ``fault`` is about, each with the object that declares it."""
    refs = [ServiceRef(fault.host, key) for key in sorted(declarers(db, fault.host))]
    services = [(ref, mesh_service) for ref in refs if (mesh_service := service(db, ref))]
    return [(ref, port) for ref, mesh_service in services for port in mesh_service.ports if fault.port in (0, port.number)]


@query
def callee_port_numbers(db: Database, fault_id: FaultId, of_requests: bool) -> frozenset[int]:  # noqa: FBT001 - a part of the key
    """Return the ports at which instances take what ``fault_id`` is for: where they get requests (``of_requests``), or the others."""
    fault = fault_of(db, fault_id)
    found = [] if fault is None else fault_ports(db, fault)
    numbered = [(ref, port.number) for ref, port in found if carries_requests(port) is of_requests]
    return frozenset(endpoint.port for ref, number in numbered for endpoint in endpoints(db, ref, number))


def carries_requests(port: ServicePort) -> bool:
    """Return whether ``port`` carries requests that a proxy sees, or may, where its protocol is found out."""
    return port.protocol.is_http or port.protocol is Protocol.UNSUPPORTED


def selected_endpoints(db: Database, fault: DrillFault, ref: ServiceRef, port: int) -> list[Endpoint]:
    """Return the endpoints of ``port`` of ``ref`` that are among the callees of ``fault``."""
    namespace = ref.key.namespace
    return [each for each in endpoints(db, ref, port) if fault.callee.selects(namespace, each.labels, each.locality)]


@query
def caller_uris(db: Database, fault_id: FaultId) -> tuple[CallerUri, ...] | None:
    """Return what the certificates of the callers of ``fault_id`` say, ``None`` where all callers are meant."""
    fault = fault_of(db, fault_id)
    if fault is None or fault.caller == ALL_WORKLOADS:
        return None
    trust_domains = mesh_settings(db).trust_domains
    if not fault.caller.labels:
        return tuple(
            CallerUri(f"{SPIFFE_SCHEME}{domain}/ns/{name}/sa/", prefix=True) for domain in trust_domains for name in fault.caller.namespaces
        )
    accounts = sorted(_accounts(db, fault.caller))
    return tuple(CallerUri(f"{SPIFFE_SCHEME}{domain}/ns/{name}/sa/{account}") for domain in trust_domains for name, account in accounts)


def _accounts(db: Database, selection: WorkloadSelection) -> set[tuple[str, str]]:
    """Return the namespaces and accounts of the workloads of ``selection``."""
    everywhere = {marker.namespace for kind in (POD, WORKLOAD_ENTRY) for marker in index(db, namespaces_with(kind))}
    found: set[tuple[str, str]] = set()
    for namespace in sorted(selection.namespaces or everywhere):
        for key in index(db, of_kind(POD, namespace)):
            pod = workload_instance(db, key)
            if pod is not None and selection.selects(namespace, pod.labels, pod.locality):
                found.add((namespace, pod.account))
        for key in index(db, of_kind(WORKLOAD_ENTRY, namespace)):
            entry = objects(db, key)
            if isinstance(entry, WorkloadEntry) and entry.spec.service_account:
                labels = tuple(sorted({**entry.meta.labels, **entry.spec.labels}.items()))
                if selection.selects(namespace, labels, entry.spec.locality):
                    found.add((namespace, entry.spec.service_account))
    return found
