"""Conditions of a VirtualService that nothing fulfils as the mesh is: Gateways, ports and clients that are not there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from controlplane.incremental.database import Database
from controlplane.mesh.facets import namespaces_with, qualified_host
from controlplane.mesh.gateway.gateways import gateway_object
from controlplane.mesh.gateway_bindings import MESH_GATEWAY, gateway_name, gateways_of
from controlplane.mesh.inputs import index
from controlplane.mesh.problems.gateways import gateway_key, gateway_workloads
from controlplane.mesh.registry.services import find_services, service_ports
from controlplane.model.keys import POD
from controlplane.model.problems import Problem, Severity
from controlplane.objects.networking.virtual_service import ConnectionMatch, HTTPMatchRequest, VirtualService

_WARNING = Severity.WARNING


def condition_problems(db: Database, virtual_service: VirtualService) -> Iterator[Problem]:
    """Yield which conditions of ``virtual_service`` ask for what is not there."""
    key = virtual_service.key
    ports = _ports(db, virtual_service)
    for path, match in _matches(virtual_service):
        for position, written in enumerate(match.gateways):
            name = gateway_name(written, key.namespace)
            if name != MESH_GATEWAY and gateway_object(db, gateway_key(name)) is None:
                message = f"there is no Gateway {name}: no proxy has this route there"
                yield Problem(key, f"{path}.gateways[{position}]", _WARNING, "UnknownGateway", message)
        if isinstance(match, HTTPMatchRequest) and match.port and ports and match.port not in ports:
            message = f"no request comes to port {match.port} of its hosts, only to {', '.join(map(str, sorted(ports)))}"
            yield Problem(key, f"{path}.port", _WARNING, "NoSuchPort", message)
        yield from _clients(db, virtual_service, path, match)


def _matches(virtual_service: VirtualService) -> Iterator[tuple[str, HTTPMatchRequest | ConnectionMatch]]:
    spec = virtual_service.spec
    conditions: list[tuple[str, Sequence[HTTPMatchRequest | ConnectionMatch]]] = [
        *((f"spec.http[{position}]", http.match) for position, http in enumerate(spec.http)),
        *((f"spec.tls[{position}]", tls.match) for position, tls in enumerate(spec.tls)),
        *((f"spec.tcp[{position}]", tcp.match) for position, tcp in enumerate(spec.tcp)),
    ]
    for path, matches in conditions:
        yield from ((f"{path}.match[{position}]", match) for position, match in enumerate(matches))


def _ports(db: Database, virtual_service: VirtualService) -> frozenset[int]:
    """Return the ports at which requests for ``virtual_service`` come; none where some of them are not known."""
    namespace, ports = virtual_service.key.namespace, set[int]()
    for name in gateways_of(virtual_service):
        if name != MESH_GATEWAY:
            gateway = gateway_object(db, gateway_key(name))
            if gateway is None:
                return frozenset()
            ports.update(server.port.number for server in gateway.spec.servers)
            continue
        for host in virtual_service.spec.hosts:
            refs = find_services(db, qualified_host(host, namespace), namespace)
            if not refs:
                return frozenset()
            ports.update(service_ports(db, refs))
    return frozenset(ports)


def _clients(db: Database, virtual_service: VirtualService, path: str, match: HTTPMatchRequest | ConnectionMatch) -> Iterator[Problem]:
    """Yield that no pod is among the clients that ``match`` is for, where pods are known."""
    if match.gateways or gateways_of(virtual_service) != {MESH_GATEWAY}:
        return  # sourceLabels and sourceNamespace are for sidecars
    namespaces = {marker.namespace for marker in index(db, namespaces_with(POD))}
    if match.source_namespace and namespaces and match.source_namespace not in namespaces:
        message = f"no pod is in the namespace {match.source_namespace}: nobody is sent by this route"
        yield Problem(virtual_service.key, f"{path}.sourceNamespace", _WARNING, "NoWorkload", message)
    elif match.source_labels and namespaces:
        labels = tuple(sorted(match.source_labels.items()))
        found = {namespace for namespace, _ in gateway_workloads(db, labels)}
        if not (found & {match.source_namespace} if match.source_namespace else found):
            text = ", ".join(f"{name}={label}" for name, label in labels)
            where = f" of {match.source_namespace}" if match.source_namespace else ""
            message = f"no pod{where} has the labels {text}: nobody is sent by this route"
            yield Problem(virtual_service.key, f"{path}.sourceLabels", _WARNING, "NoWorkload", message)
