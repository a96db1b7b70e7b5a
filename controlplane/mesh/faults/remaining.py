"""Which endpoints of a service remain while a drill takes others out."""

from __future__ import annotations

from hashlib import blake2b
from math import ceil

from controlplane.incremental.database import Database, query
from controlplane.mesh.faults.selection import fault_of, selected_endpoints
from controlplane.mesh.inputs import faults_of_host, objects
from controlplane.mesh.registry.endpoints import endpoints
from controlplane.mesh.registry.services import ServiceRef
from controlplane.model.faults.faults import FaultId, is_in_zone
from controlplane.model.faults.kinds import EndpointFault, LoseZone, RemoveInstances
from controlplane.model.keys import POD, WORKLOAD_ENTRY
from controlplane.model.services import Endpoint
from controlplane.objects.kubernetes.core import Pod
from controlplane.objects.networking.service_entry import WorkloadEntry
from controlplane.translate.faults.chosen_endpoints import RemainingEndpoints

_PERCENT = 100


@query
def remaining_endpoints(db: Database, ref: ServiceRef, port: int) -> RemainingEndpoints | None:
    """Return which endpoints of ``port`` of ``ref`` remain, ``None`` where no drill takes any out."""
    found = (fault_of(db, fault_id) for fault_id in sorted(faults_of_host(db, ref.host)))
    fault = next((each for each in found if each and isinstance(each.kind, EndpointFault) and each.port in (0, port)), None)
    if fault is None:
        return None
    removed = removed_addresses(db, fault.id, ref, port)
    return RemainingEndpoints(fault.id, frozenset(each.address for each in endpoints(db, ref, port)) - removed)


@query
def removed_addresses(db: Database, fault_id: FaultId, ref: ServiceRef, port: int) -> frozenset[str]:
    """Return the addresses of the endpoints of ``port`` of ``ref`` that ``fault_id`` takes out."""
    fault = fault_of(db, fault_id)
    candidates = selected_endpoints(db, fault, ref, port) if fault else []
    match fault.kind if fault else None:
        case LoseZone(zone):
            return frozenset(each.address for each in candidates if is_in_zone(each.locality, zone))
        case RemoveInstances() as removal:
            return frozenset(each.address for each in _chosen(db, removal, ref, candidates))
        case _:
            return frozenset()


def _chosen(db: Database, removal: RemoveInstances, ref: ServiceRef, candidates: list[Endpoint]) -> list[Endpoint]:
    if removal.names:
        named = {*removal.names, *(address for name in removal.names for address in _addresses(db, ref.key.namespace, name))}
        return [each for each in candidates if each.address in named]
    number = removal.count or ceil(len(candidates) * removal.percent / _PERCENT)
    return sorted(candidates, key=lambda each: _draw(removal.seed, each.address))[:number]


def _addresses(db: Database, namespace: str, name: str) -> tuple[str, ...]:
    """Return the addresses of the pod or WorkloadEntry ``name``."""
    pod, entry = (objects(db, kind.key(namespace, name)) for kind in (POD, WORKLOAD_ENTRY))
    return (*(pod.ips if isinstance(pod, Pod) else ()), *((entry.spec.address,) if isinstance(entry, WorkloadEntry) else ()))


def _draw(seed: int, address: str) -> bytes:
    return blake2b(f"{seed} {address}".encode(), digest_size=8).digest()
