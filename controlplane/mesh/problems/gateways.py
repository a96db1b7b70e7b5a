"""What is wrong around Gateways: names that lead nowhere, hosts and ports that nothing serves, and conflicts with an older Gateway."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping

from controlplane.incremental.database import Database, query
from controlplane.mesh.facets import namespaces_with, of_kind
from controlplane.mesh.gateway.gateways import (
    gateway_created,
    gateway_object,
    gateway_selector,
    gateways_selecting,
    is_reserved,
    merged_servers,
)
from controlplane.mesh.gateway.route_tables import shared_hosts
from controlplane.mesh.gateway.server_merge import ServerRef
from controlplane.mesh.gateway_bindings import MESH_GATEWAY, gateway_name, gateways_of
from controlplane.mesh.inputs import index, objects
from controlplane.mesh.problems.precedence import listed, why_first
from controlplane.mesh.registry.endpoints import selected_workloads
from controlplane.mesh.registry.mesh_settings import mesh_settings
from controlplane.mesh.registry.services import ServiceRef, service
from controlplane.mesh.registry.workload_services import services_of_workload
from controlplane.mesh.routing.virtual_services import VirtualServiceHead, virtual_service_head
from controlplane.model.endpoint_policy import endpoint_error, is_socket
from controlplane.model.keys import GATEWAY, POD, Key
from controlplane.model.problems import Problem, Severity
from controlplane.model.services import Labels
from controlplane.objects.kubernetes.core import Pod
from controlplane.objects.networking.gateway import Gateway
from controlplane.objects.networking.virtual_service import VirtualService

_WARNING = Severity.WARNING
_SHOWN = 4  # of those that share something: one of them is the one that is told


def gateway_problems(db: Database, gateway: Gateway) -> Iterator[Problem]:
    """Yield what is wrong between ``gateway`` and other objects."""
    key = gateway.key
    labels = gateway_selector(db, key)
    for path, message in server_conflicts(db, labels, key.namespace).get(key, ()):
        yield Problem(key, path, _WARNING, "Conflict", message)
    yield from _reserved_ports(db, gateway, labels)
    yield from _socket_endpoints(db, gateway)
    yield from _shared_certificates(db, gateway)
    if not labels or not index(db, namespaces_with(POD)):
        return
    pods = gateway_workloads(db, labels)
    if not pods:
        label_text = ", ".join(f"{name}={label}" for name, label in labels)
        yield Problem(key, "spec.selector", _WARNING, "NoWorkload", f"no pod has the labels {label_text}: this Gateway is served nowhere")
    ports = _ports(db, pods)
    for position, server in enumerate(gateway.spec.servers):
        if ports and server.port.number not in ports:
            port_text = ", ".join(map(str, ports))
            message = f"no Service of the gateway has port {server.port.number}, only {port_text}: nobody reaches it by one"
            yield Problem(key, f"spec.servers[{position}].port.number", _WARNING, "UnknownPort", message)


def _reserved_ports(db: Database, gateway: Gateway, labels: Labels) -> Iterator[Problem]:
    namespaces = {gateway.key.namespace, *(namespace for namespace, _ in gateway_workloads(db, labels))}
    for position, server in enumerate(gateway.spec.servers):
        number = server.port.number
        refusing = sorted(namespace for namespace in namespaces if is_reserved(number, gateway.key, namespace))
        if refusing and not server.bind.startswith("unix:"):
            message = f"port {number} is a proxy's own, or a control plane's: proxies of {', '.join(refusing)} do not listen there for this"
            yield Problem(gateway.key, f"spec.servers[{position}].port.number", _WARNING, "ReservedPort", message)


def _socket_endpoints(db: Database, gateway: Gateway) -> Iterator[Problem]:
    sockets = mesh_settings(db).socket_endpoints
    for position, server in enumerate(gateway.spec.servers):
        if is_socket(server.default_endpoint) and (fault := endpoint_error(server.default_endpoint, 0, sockets=sockets)):
            yield Problem(gateway.key, f"spec.servers[{position}].defaultEndpoint", _WARNING, "Unreachable", fault)


@query
def server_conflicts(db: Database, labels: Labels, namespace: str) -> Mapping[Key, tuple[tuple[str, str], ...]]:
    """Return what is told of the Gateways of proxies of ``namespace`` with ``labels`` that want the same: fields and messages."""
    messages: dict[Key, list[tuple[str, str]]] = defaultdict(list)
    losers: dict[tuple[Key, str], list[Key]] = defaultdict(list)
    for conflict in merged_servers(db, gateways_selecting(db, labels), namespace, ()).conflicts:
        key, winner = conflict.server_ref.gateway, conflict.winner
        field = f"spec.servers[{conflict.server_ref.position}]"
        if winner == key:
            messages[key].append((field, f"another server of this Gateway has {conflict.contested}: this one does without"))
            continue
        reason = why_first(gateway_created(db, winner) or "", gateway_created(db, key) or "")
        messages[key].append((field, f"{winner}, {reason}, has {conflict.contested} on the same proxies: this server does without"))
        losers[winner, conflict.contested].append(key)
    for (winner, contested), keys in losers.items():
        messages[winner].append(("spec.servers", f"{listed(keys)} wants {contested} on the same proxies too, and does without"))
    return {key: tuple(found) for key, found in messages.items()}


def _shared_certificates(db: Database, gateway: Gateway) -> Iterator[Problem]:
    for position, server in enumerate(gateway.spec.servers):
        name = server.tls.credential_name if server.tls else ""
        users = gateways_by_credential(db).get((gateway_selector(db, gateway.key), name), ()) if name else ()
        if others := [key for key in users if key != gateway.key]:
            message = f"{listed(others)} shows the same certificate: clients that reuse connections ask for its hosts here, and get 404"
            yield Problem(gateway.key, f"spec.servers[{position}].tls.credentialName", _WARNING, "SharedCertificate", message)


@query
def gateways_by_credential(db: Database) -> Mapping[tuple[Labels, str], tuple[Key, ...]]:
    """Return the Gateways that show one certificate on the same proxies, by the labels of these and the name of the credential."""
    users: dict[tuple[Labels, str], set[Key]] = defaultdict(set)
    for key in (key for marker in index(db, namespaces_with(GATEWAY)) for key in index(db, of_kind(GATEWAY, marker.namespace))):
        for name in certificate_names(db, key):
            users[gateway_selector(db, key), name].add(key)
    return {shown: tuple(sorted(keys)[:_SHOWN]) for shown, keys in users.items() if len(keys) > 1}


@query
def certificate_names(db: Database, key: Key) -> tuple[str, ...]:
    """Return the names of the certificates that the servers of the Gateway ``key`` show."""
    gateway = gateway_object(db, key)
    names = (server.tls.credential_name for server in gateway.spec.servers if server.tls) if gateway else ()
    return tuple(sorted({name for name in names if name}))


@query
def gateway_workloads(db: Database, labels: Labels) -> tuple[tuple[str, Labels], ...]:
    """Return the namespaces and labels of the pods that have ``labels``, each once, sorted."""
    workloads = set()
    for namespace in sorted(marker.namespace for marker in index(db, namespaces_with(POD))):
        pods = (objects(db, key) for key in selected_workloads(db, POD, namespace, dict(labels)))
        workloads |= {(namespace, tuple(sorted(pod.meta.labels.items()))) for pod in pods if isinstance(pod, Pod)}
    return tuple(sorted(workloads))


def _ports(db: Database, pods: tuple[tuple[str, Labels], ...]) -> tuple[int, ...]:
    refs: set[ServiceRef] = {ref for namespace, labels in pods for ref in services_of_workload(db, namespace, labels, ())}
    services = (service(db, ref) for ref in refs)
    return tuple(sorted({port.number for mesh_service in services if mesh_service for port in mesh_service.ports}))


def binding_problems(db: Database, virtual_service: VirtualService) -> Iterator[Problem]:
    """Yield what is wrong with the Gateways that ``virtual_service`` names, and which of its hosts none of them serves."""
    key = virtual_service.key
    for position, written in enumerate(virtual_service.spec.gateways):
        name = gateway_name(written, key.namespace)
        if name != MESH_GATEWAY and gateway_object(db, gateway_key(name)) is None:
            yield Problem(
                key,
                f"spec.gateways[{position}]",
                _WARNING,
                "UnknownGateway",
                f"there is no Gateway {name}: no proxy has these routes there",
            )
    bound = gateways_of(virtual_service)
    head = virtual_service_head(db, key)
    server_refs = [server_ref for name in sorted(bound) if name != MESH_GATEWAY for server_ref in _server_refs(db, gateway_key(name))]
    for position, host in enumerate(head.hosts if head and server_refs else ()):
        if head and not any(_serves(db, head, host, server_ref) for server_ref in server_refs):
            message = f"no server of its Gateways takes the host {virtual_service.spec.hosts[position]} from namespace {key.namespace}"
            yield Problem(key, f"spec.hosts[{position}]", _WARNING, "HostNotInGateway", message)


def gateway_key(name: str) -> Key:
    """Return the key of the Gateway that is called ``name``, ``namespace/name``."""
    namespace, _, plain = name.partition("/")
    return GATEWAY.key(namespace, plain)


def _server_refs(db: Database, key: Key) -> list[ServerRef]:
    gateway = gateway_object(db, key)
    return [ServerRef(key, position) for position in range(len(gateway.spec.servers))] if gateway else []


def _serves(db: Database, head: VirtualServiceHead, host: str, server_ref: ServerRef) -> bool:
    gateway = gateway_object(db, server_ref.gateway)
    return bool(gateway and shared_hosts(head._replace(hosts=(host,)), server_ref, gateway.spec.servers[server_ref.position]))
