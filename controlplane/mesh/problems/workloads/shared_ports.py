"""Services that lead to one port of the same workloads and say something else of it, and ports that do not say what they carry.

What comes in at a port is taken for what one of its Services says:
https://istio.io/latest/docs/ops/deployment/application-requirements/#pod-requirements
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from controlplane.incremental.database import Database, query
from controlplane.mesh.inputs import objects
from controlplane.mesh.registry.endpoints import selected_workloads
from controlplane.mesh.registry.services import ServiceRef, declared_services, service
from controlplane.mesh.registry.workload_services import services_of_workload, workload_ports, workload_selector
from controlplane.model.keys import POD, Key
from controlplane.model.problems import Problem, Severity
from controlplane.model.protocols import Protocol
from controlplane.model.services import Labels, ServicePort
from controlplane.objects.kubernetes.core import KubernetesService, Pod

_LOOKED_AT = 3  # of the pods of a service, which are alike


class PortClaim(NamedTuple):
    """That a service leads to a port of a workload, by ``port`` of its own."""

    key: Key
    port: ServicePort


class ClaimedPort(NamedTuple):
    """A port of a workload: the first service that leads to it by each protocol and number, and the one whose word counts there."""

    claims: tuple[PortClaim, ...]
    counts: Key


def service_port_problems(db: Database, kubernetes_service: KubernetesService) -> Iterator[Problem]:
    """Yield what is wrong with the ports of ``kubernetes_service``, by themselves and beside those of other services."""
    if kubernetes_service.spec.type == "ExternalName":
        return
    [declared] = declared_services(db, kubernetes_service.key)
    ref = ServiceRef(declared.host, declared.key)
    claimed = [claimed_ports(db, kubernetes_service.key.namespace, labels) for labels in _labels_of_pods(db, kubernetes_service.key)]
    for position, written in enumerate(kubernetes_service.spec.ports):
        port = declared.port(written.port)
        if port is None or kubernetes_service.ports.get(written.port) is not written or port.protocol is Protocol.UDP:
            continue
        yield from _shared(db, ref, f"spec.ports[{position}]", port, claimed)
        if port.protocol is Protocol.UNSUPPORTED:
            message = (
                "neither a name that begins with a protocol, as http-web, nor appProtocol: what it carries is found out by first bytes"
            )
            yield Problem(kubernetes_service.key, f"spec.ports[{position}].name", Severity.INFO, "UnknownProtocol", message)


@query
def claimed_ports(db: Database, namespace: str, labels: Labels) -> Mapping[int, ClaimedPort]:
    """Return the ports of a workload of ``namespace`` with ``labels`` that services lead to, by number."""
    claims: dict[int, dict[tuple[Protocol, int], PortClaim]] = {}
    counts: dict[int, Key] = {}
    for ref in services_of_workload(db, namespace, labels, ()):
        mesh_service = service(db, ref)
        for port in mesh_service.ports if mesh_service else ():
            for number in workload_ports(db, ref, port) if port.protocol is not Protocol.UDP else ():
                claims.setdefault(number, {}).setdefault((port.protocol, port.number), PortClaim(ref.key, port))
                counts[number] = ref.key
    return {number: ClaimedPort(tuple(found.values()), counts[number]) for number, found in claims.items()}


def _labels_of_pods(db: Database, key: Key) -> Iterator[Labels]:
    """Yield the labels of some pods of the service ``key``; where none is known, those by which it selects them."""
    selector = workload_selector(db, key)
    pods = selected_workloads(db, POD, key.namespace, dict(selector))[:_LOOKED_AT]
    found = [pod for each in pods if isinstance(pod := objects(db, each), Pod)]
    yield from (tuple(sorted(pod.meta.labels.items())) for pod in found)
    if selector and not found:
        yield selector


def _shared(db: Database, ref: ServiceRef, path: str, port: ServicePort, claimed: Sequence[Mapping[int, ClaimedPort]]) -> Iterator[Problem]:
    """Yield that another service leads to where ``port`` of the service ``ref`` leads too, and says something else of it."""
    found = [(number, ports[number]) for number in workload_ports(db, ref, port) for ports in claimed if number in ports]
    others = [(number, shared.counts, each) for number, shared in found for each in shared.claims if each.key != ref.key]
    for number, counts, other in others:
        if other.port.protocol is not port.protocol:
            said = f"{other.key} leads to port {number} of the same workloads too, and says {other.port.protocol}, not {port.protocol}"
            message = f"{said}: what comes in there is taken for what {counts} says"
            yield Problem(ref.key, path, Severity.WARNING, "Conflict", message)
            return
    for number, counts, other in others:
        if other.port.number != port.number:
            message = (
                f"{other.key} leads to port {number} of the same workloads too, by its port {other.port.number}: limits of connections"
            )
            yield Problem(ref.key, path, Severity.INFO, "SharedPort", f"{message} there are those for {counts}")
            return
