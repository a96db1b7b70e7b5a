"""Which Gateways a proxy at the edge of the mesh has, and what their servers come to on it. A Sidecar says nothing to such a proxy."""

from __future__ import annotations

from typing import NamedTuple

from controlplane.incremental.database import Database, query
from controlplane.ir.gateway import ForwardedCertificate, Topology
from controlplane.mesh.gateway.server_merge import CandidateServer, MergedServers, ServerRef, merge_servers
from controlplane.mesh.inputs import index, namespaces_with, objects, of_kind
from controlplane.mesh.registry.mesh_settings import proxy_defaults
from controlplane.mesh.registry.services import ServiceRef, service
from controlplane.mesh.registry.workload_services import services_of_workload, workload_port
from controlplane.mesh.routing.scopes import proxy_labels, source_label_keys
from controlplane.model.keys import GATEWAY, POD, Key
from controlplane.model.proxies import Proxy
from controlplane.model.services import Labels
from controlplane.objects.kubernetes.core import Pod
from controlplane.objects.networking.gateway import Gateway, GatewayServer
from controlplane.objects.networking.proxy_config import annotated_settings

PROXY_CONFIG = "proxy.istio.io/config"


class GatewayScope(NamedTuple):
    """Whose configuration it is: the replicas of a gateway share it. What comes and goes, Gateways and policies, is looked up by it."""

    namespace: str
    labels: Labels
    services: tuple[ServiceRef, ...]  # those that lead to it
    topology: Topology  # what stands before it
    identified: bool  # it has a certificate of its own


class GatewayRouteClient(NamedTuple):
    """Whose routes are asked for."""

    namespace: str
    labels: Labels  # only those that some route's source labels look at


@query
def gateway_scope(db: Database, proxy: Proxy) -> GatewayScope:
    """Return whose configuration ``proxy`` gets."""
    labels = proxy_labels(db, proxy)
    return GatewayScope(
        proxy.namespace,
        labels,
        services_of_workload(db, proxy.namespace, labels, proxy.ips),
        gateway_topology(db, POD.key(proxy.namespace, proxy.name)),
        proxy.identity is not None,
    )


@query
def gateway_route_client(db: Database, scope: GatewayScope) -> GatewayRouteClient:
    """Return whose routes ``scope`` has."""
    looked_at = source_label_keys(db, frozenset(namespaced_name(key) for key in gateways_selecting(db, scope.labels)))
    return GatewayRouteClient(scope.namespace, tuple(pair for pair in scope.labels if pair[0] in looked_at))


@query
def gateway_servers(db: Database, scope: GatewayScope) -> MergedServers:
    """Return what the servers of the Gateways of ``scope`` come to."""
    return merged_servers(db, gateways_selecting(db, scope.labels), scope.services)


@query
def gateway_topology(db: Database, key: Key) -> Topology:
    """Return what stands before the gateway of the pod ``key``: as its annotation says, else as the settings of the mesh."""
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
    namespaces = (each.namespace for each in index(db, namespaces_with(GATEWAY)))
    keys = (key for namespace in namespaces for key in index(db, of_kind(GATEWAY, namespace)))
    has = set(labels)
    found = [
        (created, key) for key in keys if (created := gateway_created(db, key)) is not None and has.issuperset(gateway_selector(db, key))
    ]
    return tuple(key for _, key in sorted(found))


@query
def gateway_selector(db: Database, key: Key) -> Labels:
    """Return the labels by which the Gateway ``key`` selects proxies, sorted."""
    value = gateway_object(db, key)
    return tuple(sorted(value.spec.selector.items())) if value else ()


@query
def gateway_created(db: Database, key: Key) -> str | None:
    """Return when the Gateway ``key`` was made; ``None`` where there is none."""
    value = gateway_object(db, key)
    return value.meta.created if value else None


def gateway_object(db: Database, key: Key) -> Gateway | None:
    """Return the Gateway ``key``."""
    value = objects(db, key)
    return value if isinstance(value, Gateway) else None


@query
def server_at(db: Database, place: ServerRef) -> GatewayServer | None:
    """Return the server at ``place``."""
    value = gateway_object(db, place.gateway)
    return value.spec.servers[place.at] if value and place.at < len(value.spec.servers) else None


@query
def merged_servers(db: Database, gateways: tuple[Key, ...], services: tuple[ServiceRef, ...]) -> MergedServers:
    """Return what the servers of ``gateways``, oldest first, come to on a proxy that ``services`` lead to."""
    offers = []
    for key in gateways:
        value = gateway_object(db, key)
        for at, each in enumerate(value.spec.servers if value else ()):
            offers.append(CandidateServer(ServerRef(key, at), each, listened_ports(db, services, each.port.number)))
    return merge_servers(offers)


@query
def listened_ports(db: Database, services: tuple[ServiceRef, ...], number: int) -> tuple[int, ...]:
    """Return the ports of the proxy that port ``number`` of ``services`` leads to; where none has that port, it itself."""
    found = set()
    for ref in services:
        known = service(db, ref)
        port = known.port(number) if known else None
        if port:
            found.add(workload_port(db, ref, port))
    return tuple(sorted(found)) or (number,)
