"""What a workload serves: its inbound clusters and listeners, from the services that select it and its Sidecar's ingress."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from controlplane.envoy.type_urls import CDS, LDS
from controlplane.incremental.database import Database, query
from controlplane.ir.clusters import NO_LIMITS as NO_POOL
from controlplane.ir.clusters import ConnectionPool
from controlplane.ir.listeners import InboundPort, OtherPorts, PortPolicy, ServedPort, TcpLimits
from controlplane.ir.telemetry.listeners import Side
from controlplane.ir.tls import Peer
from controlplane.mesh.access.istio_server_tls import termination
from controlplane.mesh.access.policies import EffectivePolicies, effective_policies, external_authorizers, inbound_filters
from controlplane.mesh.access.rate_limits import limit_targets
from controlplane.mesh.destinations.destination_rules import rule_client
from controlplane.mesh.destinations.istio_cluster_policy import connection_pool
from controlplane.mesh.destinations.provider_clusters import provider_clusters
from controlplane.mesh.destinations.traffic_policies import traffic_policy
from controlplane.mesh.extensions.attached import TrafficSide, extension_ports
from controlplane.mesh.extensions.programs import extension_parts
from controlplane.mesh.faults.requested import makes_requested_faults
from controlplane.mesh.faults.selection import callee_faults
from controlplane.mesh.publish.encode import checked_resource
from controlplane.mesh.publish.parts import Members, ResourcePart
from controlplane.mesh.registry.mesh_settings import mesh_settings
from controlplane.mesh.registry.peer_authentication import peer_policies
from controlplane.mesh.registry.services import ServiceRef, service
from controlplane.mesh.registry.workload_services import services_of_workload, workload_port
from controlplane.mesh.routing.scopes import InboundScope, sidecar_object
from controlplane.mesh.telemetry.connections import ConnectionScope, inbound_connection_settings, telemetry_targets
from controlplane.model.protocols import Protocol, protocol_of
from controlplane.model.proxies import Interception, IpFamilies
from controlplane.model.trust_domains import SPIFFE_SCHEME
from controlplane.objects.networking.sidecar import IngressListener
from controlplane.translate.addresses import wildcard
from controlplane.translate.clusters import clusters
from controlplane.translate.listeners import inbound
from controlplane.xds.resource import Resource

_WITHOUT_TLS = {Protocol.HTTPS: Protocol.HTTP, Protocol.TLS: Protocol.TCP}
ANY_ADDRESS = "0.0.0.0"  # in a default endpoint: the instance itself


@query
def inbound_parts(db: Database, workload: InboundScope) -> Members:
    """Return the inbound clusters and listeners of ``workload``.

    Without iptables only what an ``ingress`` with ``captureMode: NONE`` names is listened on.
    """
    ports = tuple(inbound_ports(db, workload))
    peer_modes = peer_policies(db, workload.namespace, workload.labels)
    peer = _peer(db, workload)
    served_ports = tuple(ServedPort(port, PortPolicy(peer_modes.on_port(port.port), peer)) for port in ports)
    policies = effective_policies(db, workload.namespace, workload.labels)
    hosts = [port.service.host for port in ports if port.service]
    if makes_requested_faults(db, hosts):
        policies = policies._replace(requested_faults=True)
    if made := callee_faults(db, hosts, workload.namespace, workload.labels, workload.ips):
        policies = policies._replace(extensions=policies.extensions + made)
    parts: set[ResourcePart] = {ResourcePart(inbound_cluster, (port, inbound_pool(db, workload, port.port))) for port in ports}
    for target in telemetry_targets(db, workload.connections.telemetry, Side.SERVER):
        parts.update(provider_clusters(db, target, workload.namespace, workload.labels, identified=workload.identified))
    for authorizer in external_authorizers(db, policies):
        parts.update(provider_clusters(db, authorizer.target, workload.namespace, workload.labels, identified=workload.identified))
    for target in limit_targets(db, policies.rate_limits):
        parts.update(provider_clusters(db, target, workload.namespace, workload.labels, identified=workload.identified))
    parts |= extension_parts(db, policies.extensions, identified=workload.identified)
    if workload.captured:
        special = {port for port, _ in peer_modes.ports} | extension_ports(db, policies.extensions, TrafficSide.SERVER)
        numbers = special - {port.port for port in ports}
        by_port = tuple((port, PortPolicy(peer_modes.on_port(port), peer)) for port in sorted(numbers))
        others = OtherPorts(PortPolicy(peer_modes.mode, peer), by_port)
        how = (workload.interception, workload.families, workload.connections)
        parts.add(ResourcePart(virtual_inbound, (served_ports, others, policies, *how)))
        parts.add(ResourcePart(inbound_pass_through, (workload.interception, workload.families)))
    else:
        parts |= {ResourcePart(inbound_listener, (served_port, policies, workload.connections)) for served_port in served_ports}
    return frozenset(parts)


@query
def inbound_ports(db: Database, workload: InboundScope) -> tuple[InboundPort, ...]:
    """Return the ports that ``workload`` serves, one a port number, sorted by it; those of the Sidecar's ingress replace the rest."""
    return tuple(replace(port, limits=_limits(inbound_pool(db, workload, port.port))) for port in _declared_ports(db, workload))


@query
def inbound_pool(db: Database, workload: InboundScope, number: int) -> ConnectionPool:
    """Return the limits on what ``workload`` gets at its port ``number``, so that they hold whoever the clients are.

    They are what its Sidecar says of the port, or else of all, or else what the DestinationRule of the service says to its own namespace.
    https://istio.io/latest/docs/reference/config/networking/sidecar/
    """
    sidecar = sidecar_object(db, workload.sidecar)
    if sidecar:
        of_port = (listener.connection_pool for listener in sidecar.spec.ingress if listener.port.number == number)
        if written := next(of_port, None) or sidecar.spec.inbound_connection_pool:
            return replace(connection_pool(written), upgrade=False)
    port = next((port for port in _declared_ports(db, workload) if port.port == number), None)
    if port is None or port.service is None:
        return NO_POOL
    ref = ServiceRef(port.service.host, port.service.key)
    policy = traffic_policy(db, ref, rule_client(db, ref, workload.namespace), port.service_port, "")
    return replace(policy.pool, upgrade=False)  # whether the application speaks HTTP/2, its port declares


def _limits(pool: ConnectionPool) -> TcpLimits:
    return TcpLimits(idle_timeout_ms=pool.tcp_idle_timeout_ms, max_duration_ms=pool.max_connection_duration_ms)


@query
def inbound_cluster(db: Database, port: InboundPort, pool: ConnectionPool) -> Resource | None:
    """Return the cluster that leads to the application at ``port``, within the limits of ``pool``."""
    message = clusters.inbound_cluster(port, pool, connect_timeout_ms=mesh_settings(db).connect_timeout_ms)
    return checked_resource(CDS, message.name, message)


@query
def inbound_pass_through(db: Database, interception: Interception, families: IpFamilies) -> Resource | None:
    """Return the cluster for captured connections to ports that no service names."""
    message = clusters.inbound_pass_through(
        families, transparent=interception is Interception.TPROXY, connect_timeout_ms=mesh_settings(db).connect_timeout_ms
    )
    return checked_resource(CDS, message.name, message)


@query
def virtual_inbound(
    db: Database,
    ports: tuple[ServedPort, ...],
    others: OtherPorts,
    policies: EffectivePolicies,
    interception: Interception,
    families: IpFamilies,
    connections: ConnectionScope,
) -> Resource | None:
    """Return the listener that iptables send every inbound connection to."""
    message = inbound.virtual_inbound(
        mesh_settings(db).inbound_port,
        ports,
        others,
        inbound_filters(db, policies),
        inbound_connection_settings(db, connections),
        families,
        transparent=interception is Interception.TPROXY,
    )
    return checked_resource(LDS, message.name, message)


@query
def inbound_listener(db: Database, served: ServedPort, policies: EffectivePolicies, connections: ConnectionScope) -> Resource | None:
    """Return the listener that binds a port itself."""
    message = inbound.inbound_listener(served, inbound_filters(db, policies), inbound_connection_settings(db, connections))
    return checked_resource(LDS, message.name, message)


def _peer(db: Database, workload: InboundScope) -> Peer | None:
    """Return whose certificates ``workload`` accepts, ``None`` where it has none itself."""
    return any_peer(db) if workload.identified else None


def any_peer(db: Database) -> Peer:
    """Return the peers of the mesh's trust domains."""
    return Peer(within=tuple(f"{SPIFFE_SCHEME}{trust_domain}/" for trust_domain in mesh_settings(db).trust_domains))


@query
def _declared_ports(db: Database, workload: InboundScope) -> tuple[InboundPort, ...]:
    sidecar = sidecar_object(db, workload.sidecar)
    by_number = {port.port: port for port in _service_ports(db, workload)}
    if sidecar is None or not sidecar.spec.ingress:
        return tuple(by_number[number] for number in sorted(by_number)) if workload.captured else ()
    listed = [
        _ingress_port(db, workload, listener) for listener in sidecar.spec.ingress if workload.captured or listener.capture_mode == "NONE"
    ]
    return tuple(sorted(listed, key=lambda port: port.port))


def _service_ports(db: Database, workload: InboundScope) -> Iterator[InboundPort]:
    for ref in services_of_workload(db, workload.namespace, workload.labels, workload.ips):
        mesh_service = service(db, ref)
        for port in mesh_service.ports if mesh_service else ():
            number = workload_port(db, ref, port, workload.ips) if port.protocol != Protocol.UDP else None
            if mesh_service and number is not None:
                yield InboundPort(
                    port=number,
                    protocol=port.protocol,
                    service=mesh_service,
                    service_port=port.number,
                    bind=wildcard(workload.families)[0],
                    endpoint=None,
                    transparent=workload.transparent,
                    families=workload.families,
                )


def _ingress_port(db: Database, workload: InboundScope, listener: IngressListener) -> InboundPort:
    own_address = workload.ips[0] if workload.ips else ANY_ADDRESS
    refs = services_of_workload(db, workload.namespace, workload.labels, workload.ips)
    candidates = ((ref, mesh_service, port) for ref in refs if (mesh_service := service(db, ref)) for port in mesh_service.ports)
    service_and_port = next(
        (
            (mesh_service, port)
            for ref, mesh_service, port in candidates
            if workload_port(db, ref, port, workload.ips) == listener.port.number
        ),
        None,
    )
    protocol = protocol_of(listener.port.number, "", listener.port.protocol.lower(), "TCP")
    return InboundPort(
        port=listener.port.number,
        protocol=_WITHOUT_TLS.get(protocol, protocol) if listener.tls else protocol,
        service=service_and_port[0] if service_and_port else None,
        service_port=service_and_port[1].number if service_and_port else listener.port.number,
        bind=listener.bind or (own_address if listener.capture_mode == "NONE" else wildcard(workload.families)[0]),
        endpoint=listener.default_endpoint.replace(ANY_ADDRESS, own_address) or None,
        transparent=workload.transparent,
        families=workload.families,
        termination=termination(listener.tls, any_peer(db)) if listener.tls else None,
    )
