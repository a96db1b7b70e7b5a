"""What a proxy sees and what it serves: the keys by which equal proxies share everything."""

from __future__ import annotations

from typing import NamedTuple

from controlplane.incremental.database import Database, query
from controlplane.mesh.gateway_bindings import MESH_GATEWAY
from controlplane.mesh.inputs import by_source_labels, exported_to, index, objects, of_kind
from controlplane.mesh.registry.endpoints import WorkloadInstance, workload_instance
from controlplane.mesh.registry.mesh_settings import mesh_settings
from controlplane.mesh.registry.services import ServiceRef, client_namespace_for_services, find_service, is_exported, visible_services
from controlplane.mesh.routing.virtual_services import VirtualServiceHead, destinations, routed_hosts, virtual_service_head
from controlplane.model.keys import POD, SIDECAR, VIRTUAL_SERVICE, Key
from controlplane.model.mesh import OutboundPolicy
from controlplane.model.proxies import Interception, IpFamilies, Proxy, ip_families
from controlplane.model.services import Labels
from controlplane.objects.kubernetes.core import Pod
from controlplane.objects.networking.sidecar import Sidecar

EVERYTHING = ("*/*",)


class OutboundScope(NamedTuple):
    """Whose outbound configuration it is: everything that it depends on, so that equal scopes share one table."""

    namespace: str
    sidecar: Key | None
    captured: bool  # iptables bring the connections
    labels: Labels  # only those that some route's source labels look at
    identified: bool = False  # it has a certificate of its own
    families: IpFamilies = IpFamilies.V4  # of the connections that iptables bring


class InboundScope(NamedTuple):
    """Whose inbound configuration it is."""

    namespace: str
    sidecar: Key | None
    captured: bool
    labels: Labels
    ips: tuple[str, ...]
    identified: bool = False  # it has a certificate of its own
    interception: Interception = Interception.REDIRECT
    families: IpFamilies = IpFamilies.V4  # of the connections that iptables bring

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
    looked_at = source_label_keys(db, frozenset((MESH_GATEWAY,)))
    identified = proxy.identity is not None
    families = _families(db, proxy) if captured else IpFamilies.V4
    outbound = OutboundScope(
        proxy.namespace, sidecar, captured, tuple(pair for pair in labels if pair[0] in looked_at), identified, families
    )
    served = InboundScope(proxy.namespace, sidecar, captured, labels, proxy.ips, identified, proxy.interception, families)
    return ProxyScope(outbound, served)


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
    found = [value for key in index(db, of_kind(SIDECAR, namespace)) if isinstance(value := objects(db, key), Sidecar)]
    found.sort(key=lambda value: (value.meta.created, value.key))
    has = set(labels)
    selecting = [each.key for each in found if (wanted := each.spec.workload_selector) and wanted.labels.items() <= has]
    general = [each.key for each in found if not each.spec.workload_selector or not each.spec.workload_selector.labels]
    return selecting, general


@query
def source_label_keys(db: Database, gateways: frozenset[str]) -> frozenset[str]:
    """Return the label names that source labels of any VirtualService bound to one of ``gateways`` look at."""
    heads = (virtual_service_head(db, key) for key in index(db, by_source_labels(VIRTUAL_SERVICE)))
    return frozenset(name for each in heads if each and each.gateways & gateways for name in each.label_keys)


@query
def egress_listeners(db: Database, scope: OutboundScope) -> tuple[EgressListenerScope, ...]:
    """Return the egress listeners of ``scope``, those for one port first, in the order written."""
    value = sidecar_object(db, scope.sidecar)
    if value is None or not value.spec.egress:
        return (EgressListenerScope(None, "", "", binds=False, hosts=EVERYTHING),)
    found = []
    for each in value.spec.egress:
        hosts = tuple(sorted({_resolved(host, scope.namespace) for host in each.hosts}))
        hosts = EVERYTHING if EVERYTHING[0] in hosts else hosts
        port = each.port
        number, protocol = (port.number, port.protocol.upper()) if port else (None, "")
        found.append(EgressListenerScope(number, protocol, each.bind, each.capture_mode == "NONE", hosts))
    return tuple(sorted(found, key=lambda each: each.port is None))


def sidecar_object(db: Database, key: Key | None) -> Sidecar | None:
    """Return the Sidecar ``key``."""
    value = objects(db, key) if key else None
    return value if isinstance(value, Sidecar) else None


@query
def outbound_policy(db: Database, sidecar: Key | None) -> OutboundPolicy:
    """Return what becomes of traffic to unknown destinations: what the Sidecar says, else the mesh."""
    value = sidecar_object(db, sidecar)
    if value and value.spec.outbound_traffic_policy:
        return OutboundPolicy(value.spec.outbound_traffic_policy.mode)
    return mesh_settings(db).outbound_policy


@query
def imported_services(db: Database, client_namespace: str, hosts: tuple[str, ...]) -> tuple[ServiceRef, ...]:
    """Return the services that ``client_namespace`` sees through the egress ``hosts``, sorted by host.

    Those that the routes so seen lead to are among them.
    """
    seen = visible_services(db, client_namespace)
    if hosts == EVERYTHING:
        return seen
    found = {ref for ref in seen if egress_selects(hosts, ref.key.namespace, ref.host)}
    for route in {each.key for _, each in imported_routes(db, client_namespace, hosts)}:
        for host in destinations(db, route):
            if ref := find_service(db, host, client_namespace):
                found.add(ref)
    return tuple(sorted(found))


@query
def imported_routes(db: Database, client_namespace: str, hosts: tuple[str, ...]) -> tuple[tuple[str, VirtualServiceHead], ...]:
    """Return the hosts with a VirtualService that ``client_namespace`` sees through the egress ``hosts``, sorted by host."""
    return tuple(
        (host, each)
        for host, each in routed_hosts(db)
        if is_exported(each.export_to, client_namespace) and (hosts == EVERYTHING or egress_selects(hosts, each.key.namespace, host))
    )


def client_namespace_for_routes(db: Database, namespace: str) -> str:
    """Return whom to ask what ``namespace`` sees: ``PUBLIC`` where it sees what everyone sees."""
    return namespace if index(db, exported_to(VIRTUAL_SERVICE, namespace)) else client_namespace_for_services(db, namespace)


def egress_selects(hosts: tuple[str, ...], namespace: str, host: str) -> bool:
    """Return whether one of ``hosts`` (``namespace/host``) names ``host``, which is of ``namespace``."""
    for each in hosts:
        wanted, _, pattern = each.partition("/")
        if wanted in ("*", namespace) and (pattern in ("*", host) or (pattern.startswith("*.") and host.endswith(pattern[1:]))):
            return True
    return False


def _resolved(host: str, namespace: str) -> str:
    wanted, _, pattern = host.rpartition("/")
    return f"{namespace if wanted == '.' else wanted or '*'}/{pattern}"
