"""What a workload serves: its inbound clusters and listeners, from the services that select it and its Sidecar's ingress."""

from __future__ import annotations

from collections.abc import Iterator

from controlplane.envoy.type_urls import CDS, LDS
from controlplane.incremental.database import Database, query
from controlplane.ir.listeners import InboundPort, OtherPorts, PortPolicy, ServedPort
from controlplane.ir.tls import Peer
from controlplane.mesh.access.ext_authz import authorizer_clusters
from controlplane.mesh.access.policies import EffectivePolicies, effective_policies, external_authorizers, inbound_filters
from controlplane.mesh.publish.encode import checked_resource
from controlplane.mesh.publish.parts import Members, ResourcePart
from controlplane.mesh.registry.mesh_settings import mesh_settings
from controlplane.mesh.registry.peer_authentication import peer_policies
from controlplane.mesh.registry.services import service
from controlplane.mesh.registry.workload_services import services_of_workload, workload_port
from controlplane.mesh.routing.scopes import InboundScope, sidecar_object
from controlplane.model.protocols import Protocol, protocol_of
from controlplane.model.proxies import Interception, IpFamilies
from controlplane.model.trust_domains import SPIFFE_SCHEME
from controlplane.objects.networking.sidecar import IngressListener
from controlplane.translate.addresses import wildcard
from controlplane.translate.clusters import clusters
from controlplane.translate.listeners import inbound
from controlplane.xds.resource import Resource

ANY_ADDRESS = "0.0.0.0"  # in a default endpoint: the instance itself


@query
def inbound_parts(db: Database, workload: InboundScope) -> Members:
    """Return the inbound clusters and listeners of ``workload``.

    Without iptables only what an ``ingress`` with ``captureMode: NONE`` names is listened on.
    """
    ports = tuple(inbound_ports(db, workload))
    taken = peer_policies(db, workload.namespace, workload.labels)
    peer = _peer(db, workload)
    served = tuple(ServedPort(port, PortPolicy(taken.on_port(port.port), peer)) for port in ports)
    policies = effective_policies(db, workload.namespace, workload.labels)
    found: set[ResourcePart] = {ResourcePart(inbound_cluster, (port,)) for port in ports}
    for each in external_authorizers(db, policies):
        found.update(authorizer_clusters(db, each, workload.namespace, identified=workload.identified))
    if workload.captured:
        named = {port.port for port in ports}
        by_port = tuple((port, PortPolicy(mode, peer)) for port, mode in taken.ports if port not in named)
        others = OtherPorts(PortPolicy(taken.mode, peer), by_port)
        found.add(ResourcePart(virtual_inbound, (served, others, policies, workload.interception, workload.families)))
        found.add(ResourcePart(inbound_pass_through, (workload.interception, workload.families)))
    else:
        found |= {ResourcePart(inbound_listener, (each, policies)) for each in served}
    return frozenset(found)


@query
def inbound_ports(db: Database, workload: InboundScope) -> tuple[InboundPort, ...]:
    """Return the ports that ``workload`` serves, one a port number, sorted by it; what the Sidecar's ingress says replaces the rest."""
    sidecar = sidecar_object(db, workload.sidecar)
    served = {port.port: port for port in _of_services(db, workload)}
    if sidecar is None or not sidecar.spec.ingress:
        return tuple(served[number] for number in sorted(served)) if workload.captured else ()
    listed = [_of_ingress(db, workload, each) for each in sidecar.spec.ingress if workload.captured or each.capture_mode == "NONE"]
    return tuple(sorted(listed, key=lambda port: port.port))


@query
def inbound_cluster(db: Database, port: InboundPort) -> Resource | None:
    """Return the cluster that leads to the application at ``port``."""
    message = clusters.inbound_cluster(port, connect_timeout_ms=mesh_settings(db).connect_timeout_ms)
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
) -> Resource | None:
    """Return the listener that iptables send every inbound connection to."""
    passed, transparent = inbound_filters(db, policies), interception is Interception.TPROXY
    message = inbound.virtual_inbound(mesh_settings(db).inbound_port, ports, others, passed, families, transparent=transparent)
    return checked_resource(LDS, message.name, message)


@query
def inbound_listener(db: Database, served: ServedPort, policies: EffectivePolicies) -> Resource | None:
    """Return the listener that binds a port itself."""
    message = inbound.inbound_listener(served, inbound_filters(db, policies))
    return checked_resource(LDS, message.name, message)


def _peer(db: Database, workload: InboundScope) -> Peer | None:
    """Return whom ``workload`` takes certificates of, ``None`` where it has none itself."""
    return any_peer(db) if workload.identified else None


def any_peer(db: Database) -> Peer:
    """Return everybody of the mesh's trust domains."""
    return Peer(within=tuple(f"{SPIFFE_SCHEME}{each}/" for each in mesh_settings(db).trust_domains))


def _of_services(db: Database, workload: InboundScope) -> Iterator[InboundPort]:
    for ref in services_of_workload(db, workload.namespace, workload.labels, workload.ips):
        known = service(db, ref)
        for port in known.ports if known else ():
            if known and port.protocol != Protocol.UDP:
                yield InboundPort(
                    port=workload_port(db, ref, port),
                    protocol=port.protocol,
                    service=known,
                    service_port=port.number,
                    bind=wildcard(workload.families)[0],
                    endpoint=None,
                    transparent=workload.transparent,
                    families=workload.families,
                )


def _of_ingress(db: Database, workload: InboundScope, each: IngressListener) -> InboundPort:
    own = workload.ips[0] if workload.ips else ANY_ADDRESS
    refs = services_of_workload(db, workload.namespace, workload.labels, workload.ips)
    serving = ((ref, known, port) for ref in refs if (known := service(db, ref)) for port in known.ports)
    found = next(((known, port) for ref, known, port in serving if workload_port(db, ref, port) == each.port.number), None)
    return InboundPort(
        port=each.port.number,
        protocol=protocol_of(each.port.number, "", each.port.protocol.lower(), "TCP"),
        service=found[0] if found else None,
        service_port=found[1].number if found else each.port.number,
        bind=each.bind or (own if each.capture_mode == "NONE" else wildcard(workload.families)[0]),
        endpoint=each.default_endpoint.replace(ANY_ADDRESS, own) or None,
        transparent=workload.transparent,
        families=workload.families,
    )
