"""The outbound and the inbound scope of a proxy: the keys by which equal proxies share everything."""

from __future__ import annotations

from typing import NamedTuple

from controlplane.incremental.database import Database, query
from controlplane.mesh.destinations.destination_rules import selected_labels_of_namespace
from controlplane.mesh.extensions.attached import TrafficSide, extensions_of
from controlplane.mesh.facets import EXTERNAL_NAMES, by_source_labels, exported_to, of_kind
from controlplane.mesh.gateway_bindings import MESH_GATEWAY
from controlplane.mesh.inputs import index, objects
from controlplane.mesh.registry.endpoints import WorkloadInstance, workload_instance
from controlplane.mesh.registry.mesh_settings import mesh_settings
from controlplane.mesh.registry.services import (
    ServiceRef,
    all_shards,
    client_namespace_for_services,
    find_services,
    is_exported,
    other_names,
    resolved_host,
    service,
    services_named,
    shards_of_namespace,
    visible_services,
)
from controlplane.mesh.routing.egress_hosts import EVERYTHING, imported_namespaces, imports_routes, imports_service, resolved_egress_hosts
from controlplane.mesh.routing.virtual_services import (
    VirtualServiceHead,
    as_far_as_it_holds,
    destinations,
    heads_naming,
    routes_foreign_hosts,
    sidecar_head,
    virtual_service_head,
)
from controlplane.mesh.shards import Shard, in_shard
from controlplane.mesh.telemetry.connections import ConnectionScope, connection_scope
from controlplane.model.keys import POD, SIDECAR, VIRTUAL_SERVICE, Key
from controlplane.model.mesh import OutboundPolicy
from controlplane.model.protocols import Protocol
from controlplane.model.proxies import Interception, IpFamilies, Proxy, ip_families
from controlplane.model.services import Labels
from controlplane.objects.kubernetes.core import Pod
from controlplane.objects.networking.sidecar import Sidecar


class OutboundScope(NamedTuple):
    """Everything that the outbound configuration of a proxy depends on, so that equal scopes share one table."""

    namespace: str
    sidecar: Key | None
    captured: bool  # iptables bring the connections
    labels: Labels  # only those that some route's source labels, or some rule's workload selector, look at
    identified: bool = False  # it has a certificate of its own
    families: IpFamilies = IpFamilies.V4  # of the connections that iptables bring
    connections: ConnectionScope = ConnectionScope()
    extensions: tuple[Key, ...] = ()  # that what it sends passes


class InboundScope(NamedTuple):
    """Everything that the inbound configuration of a proxy depends on."""

    namespace: str
    sidecar: Key | None
    captured: bool
    labels: Labels
    ips: tuple[str, ...]
    identified: bool = False  # it has a certificate of its own
    interception: Interception = Interception.REDIRECT
    families: IpFamilies = IpFamilies.V4  # of the connections that iptables bring
    connections: ConnectionScope = ConnectionScope()

    @property
    def transparent(self) -> bool:
        """Return whether connections come, and go on, from the client's address."""
        return self.interception is Interception.TPROXY


class ProxyScope(NamedTuple):
    """What a proxy sees, and what it serves."""

    outbound: OutboundScope
    workload: InboundScope


class EgressListenerScope(NamedTuple):
    """One egress listener of a Sidecar; the one of proxies without a Sidecar has no port and sees everything."""

    port: int | None
    protocol: str
    bind: str
    binds: bool  # captureMode NONE: the application connects to it
    hosts: tuple[str, ...]  # "namespace/host", with "." resolved, sorted


@query
def proxy_scope(db: Database, proxy: Proxy) -> ProxyScope:
    """Return what ``proxy`` sees and serves."""
    labels = proxy_labels(db, proxy)
    captured = proxy.interception is not Interception.NONE
    sidecar = sidecar_of(db, proxy.namespace, labels)
    label_keys = source_label_keys(db, frozenset((MESH_GATEWAY,)))
    selected = selected_labels_of_namespace(db, proxy.namespace)
    identified = proxy.identity is not None
    families = _families(db, proxy) if captured else IpFamilies.V4
    connections = connection_scope(db, proxy, labels)
    outbound = OutboundScope(
        proxy.namespace,
        sidecar,
        captured,
        tuple(pair for pair in labels if pair[0] in label_keys or pair in selected),
        identified,
        families,
        connections,
        extensions_of(db, proxy.namespace, labels, TrafficSide.CLIENT),
    )
    inbound = InboundScope(proxy.namespace, sidecar, captured, labels, proxy.ips, identified, proxy.interception, families, connections)
    return ProxyScope(outbound, inbound)


def proxy_labels(db: Database, proxy: Proxy) -> Labels:
    """Return the labels of ``proxy``: from its metadata, else from the Pod that it names."""
    if proxy.labels is not None:
        return proxy.labels
    return (workload_instance(db, POD.key(proxy.namespace, proxy.name)) or WorkloadInstance()).labels


def _families(db: Database, proxy: Proxy) -> IpFamilies:
    """Return the families of the addresses of ``proxy``: from its metadata, else from the Pod that it names as well."""
    if proxy.families is not None:
        return proxy.families
    pod = objects(db, POD.key(proxy.namespace, proxy.name))
    return ip_families((*proxy.ips, *(pod.ips if isinstance(pod, Pod) else ())))


def sidecar_of(db: Database, namespace: str, labels: Labels) -> Key | None:
    """Return the Sidecar for a workload with ``labels``: one that selects it, else its namespace's, else the root namespace's.

    Of several the oldest. https://istio.io/latest/docs/reference/config/networking/sidecar/
    """
    selecting, general = _sidecars(db, namespace, labels)
    root = mesh_settings(db).root_namespace
    return next(iter(selecting or general or _sidecars(db, root, ())[1]), None)


def _sidecars(db: Database, namespace: str, labels: Labels) -> tuple[list[Key], list[Key]]:
    sidecars = [candidate for key in index(db, of_kind(SIDECAR, namespace)) if isinstance(candidate := objects(db, key), Sidecar)]
    sidecars.sort(key=lambda sidecar: (sidecar.meta.seniority, sidecar.key))
    workload_labels = set(labels)
    selecting = [
        sidecar.key for sidecar in sidecars if (wanted := sidecar.spec.workload_selector) and wanted.labels.items() <= workload_labels
    ]
    general = [sidecar.key for sidecar in sidecars if not sidecar.spec.workload_selector or not sidecar.spec.workload_selector.labels]
    return selecting, general


@query
def source_label_keys(db: Database, gateways: frozenset[str]) -> frozenset[str]:
    """Return the label names that source labels of any VirtualService bound to one of ``gateways`` look at."""
    heads = (virtual_service_head(db, key) for key in index(db, by_source_labels(VIRTUAL_SERVICE)))
    return frozenset(name for head in heads if head and head.gateways & gateways for name in head.label_keys)


@query
def egress_listeners(db: Database, scope: OutboundScope) -> tuple[EgressListenerScope, ...]:
    """Return the egress listeners of ``scope``, those for one port first, in the order written."""
    sidecar = sidecar_object(db, scope.sidecar)
    if sidecar is None or not sidecar.spec.egress:
        return (EgressListenerScope(None, "", "", binds=False, hosts=EVERYTHING),)
    listeners = []
    for listener in sidecar.spec.egress:
        hosts = resolved_egress_hosts(listener.hosts, scope.namespace)
        port = listener.port
        number, protocol = (port.number, port.protocol.upper() or _protocol_behind(db, scope, hosts, port.number)) if port else (None, "")
        listeners.append(EgressListenerScope(number, protocol, listener.bind, listener.capture_mode == "NONE", hosts))
    return tuple(sorted(listeners, key=lambda listener: listener.port is None))


def _protocol_behind(db: Database, scope: OutboundScope, hosts: tuple[str, ...], number: int) -> Protocol:
    """Return what an egress listener at ``number`` that names no protocol carries: what the services do that are seen through ``hosts``.

    Where only some carry HTTP, or may, it is HTTP.
    """
    refs = all_imported_services(db, client_namespace_for_routes(db, scope.namespace), hosts)
    services = [mesh_service for ref in refs if (mesh_service := service(db, ref))]
    same = [port for mesh_service in services if (port := mesh_service.port(number))]
    ports = same or [port for mesh_service in services if (port := mesh_service.port_behind(number))]
    if any(port.protocol.is_http or port.protocol is Protocol.UNSUPPORTED for port in ports):
        return Protocol.HTTP
    return Protocol.TLS if ports and all(port.protocol.is_tls for port in ports) else Protocol.TCP


def sidecar_object(db: Database, key: Key | None) -> Sidecar | None:
    """Return the Sidecar ``key``."""
    obj = objects(db, key) if key else None
    return obj if isinstance(obj, Sidecar) else None


@query
def outbound_policy(db: Database, sidecar: Key | None) -> OutboundPolicy:
    """Return the policy for traffic to unknown destinations: the Sidecar's, else the mesh's."""
    sidecar_config = sidecar_object(db, sidecar)
    if sidecar_config and sidecar_config.spec.outbound_traffic_policy:
        return OutboundPolicy(sidecar_config.spec.outbound_traffic_policy.mode)
    return mesh_settings(db).outbound_policy


@query
def imported_shards(db: Database, client_namespace: str, hosts: tuple[str, ...]) -> tuple[Shard, ...]:
    """Return the shards in which there may be something that ``client_namespace`` sees through the egress ``hosts``."""
    namespaces = imported_namespaces(hosts)
    if namespaces is not None:
        namespaces |= {ref.key.namespace for ref in services_led_to(db, client_namespace, hosts)}
    return _shards_of(db, namespaces)


def _shards_of(db: Database, namespaces: set[str] | None) -> tuple[Shard, ...]:
    """Return the shards of ``namespaces``; ``None``: of all."""
    if namespaces is None:
        return all_shards(db)
    return tuple(shard for namespace in sorted(namespaces) for shard in shards_of_namespace(db, namespace))


@query
def imported_services(db: Database, client_namespace: str, hosts: tuple[str, ...], shard: Shard) -> tuple[ServiceRef, ...]:
    """Return the services of ``shard`` that ``client_namespace`` sees through the egress ``hosts``, sorted by host.

    Those that the routes seen through ``hosts`` lead to are among them, and those that a name seen through ``hosts`` is another name of.
    """
    visible = visible_services(db, client_namespace, shard)
    if hosts == EVERYTHING:
        return visible
    led_to = services_led_to(db, client_namespace, hosts)
    return tuple(ref for ref in visible if imports_service(hosts, ref.key.namespace, ref.host) or ref in led_to)


def imported_by_name(db: Database, client_namespace: str, hosts: tuple[str, ...], host: str) -> tuple[ServiceRef, ...]:
    """Return the services named just ``host`` that ``client_namespace`` sees through the egress ``hosts``."""
    named = services_named(db, host, client_namespace)
    if named and named[0].key in index(db, EXTERNAL_NAMES) and resolved_host(db, host, client_namespace) != host:
        return ()
    if hosts == EVERYTHING or not named:
        return named
    led_to = services_led_to(db, client_namespace, hosts)
    return tuple(ref for ref in named if imports_service(hosts, ref.key.namespace, host) or ref in led_to)


def all_imported_services(db: Database, client_namespace: str, hosts: tuple[str, ...]) -> list[ServiceRef]:
    """Return the services that ``client_namespace`` sees through the egress ``hosts``, of all shards, sorted by host."""
    shards = imported_shards(db, client_namespace, hosts)
    return sorted(ref for shard in shards for ref in imported_services(db, client_namespace, hosts, shard))


@query
def services_led_to(db: Database, client_namespace: str, hosts: tuple[str, ...]) -> frozenset[ServiceRef]:
    """Return the services that routes, and other names of services, lead to that are seen through the egress ``hosts``."""
    aliases = (ref for refs in other_names(db, client_namespace).values() for ref in refs)
    named = {ref.host for ref in aliases if imports_service(hosts, ref.key.namespace, ref.host)}
    named.update(
        host for shard in _shards_of(db, imported_namespaces(hosts)) for host in _destinations_of_shard(db, client_namespace, hosts, shard)
    )
    return frozenset(ref for host in named for ref in find_services(db, host, client_namespace))


@query
def _destinations_of_shard(db: Database, client_namespace: str, hosts: tuple[str, ...], shard: Shard) -> frozenset[str]:
    """Return the hosts that the VirtualServices of ``shard`` lead to that ``client_namespace`` sees through the egress ``hosts``."""
    heads = (sidecar_head(db, key) for key in index(db, in_shard(VIRTUAL_SERVICE, shard)))
    seen = (head.key for head in heads if head and any(_is_imported(db, head, host, client_namespace, hosts) for host in head.hosts))
    return frozenset(host for key in seen for host in destinations(db, key))


def _is_imported(db: Database, head: VirtualServiceHead, host: str, client_namespace: str, hosts: tuple[str, ...]) -> bool:
    """Return whether ``client_namespace`` sees the routes of ``head`` for ``host`` through the egress ``hosts``."""
    holding = as_far_as_it_holds(db, head, host)
    return is_exported(holding.export_to, client_namespace) and imports_routes(hosts, head.key.namespace, head.hosts)


def routing_head(db: Database, client_namespace: str, hosts: tuple[str, ...], host: str) -> VirtualServiceHead | None:
    """Return the first VirtualService that names just ``host``, routes requests, and is seen through the egress ``hosts``."""
    routing = (head for head in heads_naming(db, host, host) if head.routes_requests)
    seen = (head for head in routing if _is_imported(db, head, host, client_namespace, hosts))
    return min(seen, key=lambda head: head.key, default=None)


def client_namespace_for_routes(db: Database, namespace: str) -> str:
    """Return the client namespace by which to look up routes for ``namespace``: ``PUBLIC`` where it sees what everyone sees."""
    own = index(db, exported_to(VIRTUAL_SERVICE, namespace)) or routes_foreign_hosts(db, namespace)
    return namespace if own else client_namespace_for_services(db, namespace)
