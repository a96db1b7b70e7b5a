"""Which Gateways select a proxy at the edge of the mesh, and their servers merged. Sidecars do not apply to such a proxy."""

from __future__ import annotations

from typing import NamedTuple

from controlplane.incremental.database import Database, eager_query, query
from controlplane.ir.gateway import ForwardedCertificate, Topology
from controlplane.mesh.destinations.destination_rules import selected_labels_of_namespace
from controlplane.mesh.facets import namespaces_with, of_kind
from controlplane.mesh.gateway.server_merge import CandidateServer, MergedServers, ServerRef, merge_servers
from controlplane.mesh.inputs import index, objects
from controlplane.mesh.registry.mesh_settings import mesh_settings, proxy_defaults
from controlplane.mesh.registry.services import ServiceRef, service
from controlplane.mesh.registry.workload_services import services_of_workload, workload_ports
from controlplane.mesh.routing.scopes import proxy_labels, source_label_keys
from controlplane.mesh.telemetry.connections import ConnectionScope, connection_scope
from controlplane.model.endpoint_policy import CONTROL_PLANE_PORTS, OWN_PORTS, is_socket
from controlplane.model.keys import GATEWAY, POD, Key
from controlplane.model.proxies import PROXY_CONFIG, Proxy
from controlplane.model.services import Labels
from controlplane.objects.kubernetes.core import Pod
from controlplane.objects.networking.gateway import Gateway, GatewayServer
from controlplane.objects.networking.proxy_config import annotated_settings


class GatewayScope(NamedTuple):
    """What the configuration of a gateway depends on, so that its replicas share it.

    Gateways and policies, which change more often, are looked up by it.
    """

    namespace: str
    labels: Labels
    services: tuple[ServiceRef, ...]  # those that it is an instance of
    topology: Topology  # the proxies in front of it
    identified: bool  # it has a certificate of its own
    connections: ConnectionScope = ConnectionScope()


class GatewayRouteClient(NamedTuple):
    """The client whose routes are looked up: the gateway's namespace and labels."""

    namespace: str
    labels: Labels  # only those that some route's source labels, or some rule's workload selector, look at


@query
def gateway_scope(db: Database, proxy: Proxy) -> GatewayScope:
    """Return the scope of ``proxy``."""
    labels = proxy_labels(db, proxy)
    return GatewayScope(
        proxy.namespace,
        labels,
        services_of_workload(db, proxy.namespace, labels, proxy.ips),
        gateway_topology(db, POD.key(proxy.namespace, proxy.name)),
        proxy.identity is not None,
        connection_scope(db, proxy, labels),
    )


@query
def gateway_route_client(db: Database, scope: GatewayScope) -> GatewayRouteClient:
    """Return the client by which the routes of ``scope`` are looked up."""
    label_keys = source_label_keys(db, frozenset(namespaced_name(key) for key in gateways_selecting(db, scope.labels)))
    selected = selected_labels_of_namespace(db, scope.namespace)
    return GatewayRouteClient(scope.namespace, tuple(pair for pair in scope.labels if pair[0] in label_keys or pair in selected))


@query
def gateway_servers(db: Database, scope: GatewayScope) -> MergedServers:
    """Return the servers of the Gateways of ``scope``, merged."""
    return merged_servers(db, gateways_selecting(db, scope.labels), scope.namespace, scope.services)


@query
def gateway_topology(db: Database, key: Key) -> Topology:
    """Return the topology in front of the gateway of the pod ``key``: from its annotation, else from the mesh's settings."""
    pod = objects(db, key)
    annotation = pod.meta.annotations.get(PROXY_CONFIG, "") if isinstance(pod, Pod) else ""
    settings = annotated_settings(annotation).with_defaults(proxy_defaults(db)) if annotation else proxy_defaults(db)
    written_topology = settings.gateway_topology
    if written_topology is None:
        return Topology()
    details = written_topology.forward_client_cert_details
    return Topology(
        trusted_proxies=written_topology.num_trusted_proxies,
        client_certificate=ForwardedCertificate.DEFAULT if details == "UNDEFINED" else ForwardedCertificate[details],
        proxy_protocol=written_topology.proxy_protocol is not None,
    )


def namespaced_name(key: Key) -> str:
    """Return how VirtualServices name the Gateway ``key``."""
    return f"{key.namespace}/{key.name}"


@query
def gateways_selecting(db: Database, labels: Labels) -> tuple[Key, ...]:
    """Return the Gateways, of whatever namespace, that select a proxy with ``labels``, oldest first; without a selector: every proxy."""
    namespaces = (marker.namespace for marker in index(db, namespaces_with(GATEWAY)))
    keys = (key for namespace in namespaces for key in index(db, of_kind(GATEWAY, namespace)))
    label_set = set(labels)
    by_age = [
        (created, key)
        for key in keys
        if (created := gateway_created(db, key)) is not None and label_set.issuperset(gateway_selector(db, key))
    ]
    return tuple(key for _, key in sorted(by_age))


@eager_query
def gateway_selector(db: Database, key: Key) -> Labels:
    """Return the labels by which the Gateway ``key`` selects proxies, sorted."""
    gateway = gateway_object(db, key)
    return tuple(sorted(gateway.spec.selector.items())) if gateway else ()


@eager_query
def gateway_created(db: Database, key: Key) -> str | None:
    """Return the creation time of the Gateway ``key``; ``None`` where there is none."""
    gateway = gateway_object(db, key)
    return gateway.meta.seniority if gateway else None


def gateway_object(db: Database, key: Key) -> Gateway | None:
    """Return the Gateway ``key``."""
    obj = objects(db, key)
    return obj if isinstance(obj, Gateway) else None


@query
def server_at(db: Database, server_ref: ServerRef) -> GatewayServer | None:
    """Return the server that ``server_ref`` names."""
    servers = servers_of(db, server_ref.gateway)
    return servers[server_ref.position] if server_ref.position < len(servers) else None


def servers_of(db: Database, key: Key) -> tuple[GatewayServer, ...]:
    """Return the servers of the Gateway ``key``, without default endpoints that are sockets where these may be none."""
    gateway = gateway_object(db, key)
    servers = tuple(gateway.spec.servers) if gateway else ()
    if mesh_settings(db).socket_endpoints or not any(is_socket(server.default_endpoint) for server in servers):
        return servers
    return tuple(server.model_copy(update={"default_endpoint": ""}) if is_socket(server.default_endpoint) else server for server in servers)


@query
def merged_servers(db: Database, gateways: tuple[Key, ...], namespace: str, services: tuple[ServiceRef, ...]) -> MergedServers:
    """Return the servers of ``gateways``, oldest first, merged for a proxy of ``namespace`` that is an instance of ``services``."""
    offers = []
    for key in gateways:
        for position, server in enumerate(servers_of(db, key)):
            ports = listened_ports(db, services, server.port.number)
            targets = ports if server.bind.startswith("unix:") else tuple(port for port in ports if not is_reserved(port, key, namespace))
            offers.append(CandidateServer(ServerRef(key, position), server, targets))
    return merge_servers(offers)


def is_reserved(port: int, gateway: Key, namespace: str) -> bool:
    """Return whether ``gateway`` may not have ``port`` of a proxy of ``namespace``: the proxy's own are never had.

    Those of a control plane are had in the namespace of the gateway alone, where it may be made reachable from other clusters.
    """
    return port in OWN_PORTS and not (port in CONTROL_PLANE_PORTS and gateway.namespace == namespace)


@query
def listened_ports(db: Database, services: tuple[ServiceRef, ...], number: int) -> tuple[int, ...]:
    """Return the ports of the proxy that port ``number`` of ``services`` leads to; where none has that port, ``number`` itself."""
    ports: set[int] = set()
    for ref in services:
        mesh_service = service(db, ref)
        port = mesh_service.port(number) if mesh_service else None
        if port:
            ports.update(workload_ports(db, ref, port))
    return tuple(sorted(ports)) or (number,)
