"""Which Gateways a proxy at the edge of the mesh has, and the ports, route tables and hosts that they come to.

A VirtualService takes part where it is bound to one of them, is exported to the proxy's namespace, and shares a host with a server.
A Sidecar says nothing to proxies of this type.
"""

from __future__ import annotations

from typing import NamedTuple

from controlplane.incremental.database import Database, query
from controlplane.mesh.access import Effective, effective
from controlplane.mesh.inputs import bound_to, index, namespaces_with, objects, of_kind
from controlplane.mesh.merging import Kind, Merged, Offer, Place, Port, Served, hosts_of, merge, serves_http
from controlplane.mesh.routing import Head, head
from controlplane.mesh.scopes import labels_of, source_label_keys
from controlplane.mesh.services import Ref, exported, service
from controlplane.mesh.settings import proxy_defaults
from controlplane.mesh.workloads import selecting, target
from controlplane.model.hosts import for_namespace, intersection
from controlplane.model.keys import Key
from controlplane.model.proxies import Proxy
from controlplane.model.services import Labels
from controlplane.objects.core import Pod
from controlplane.objects.gateway import Gateway, Server
from controlplane.objects.proxy_config import GatewayTopology, said
from controlplane.objects.virtual_service import VirtualService

KIND = "Gateway"
PROXY_CONFIG = "proxy.istio.io/config"


class Edge(NamedTuple):
    """Whose configuration it is: everything that it depends on, so that the replicas of a gateway share it."""

    namespace: str
    gateways: tuple[Key, ...]  # those that select it, oldest first
    services: tuple[Ref, ...]  # those that lead to it
    labels: Labels  # only those that some route's source labels look at
    policies: Effective  # those that hold for it
    topology: GatewayTopology  # what stands before it
    identified: bool  # it has a certificate of its own


class Viewer(NamedTuple):
    """Who asks what a route table holds."""

    namespace: str
    labels: Labels


class Table(NamedTuple):
    """One RouteConfiguration: its name, and the servers that it is for."""

    name: str
    places: tuple[Place, ...]


class Part(NamedTuple):
    """A VirtualService that routes requests to a host, and through which Gateways it does."""

    key: Key
    gateways: tuple[str, ...]


class Host(NamedTuple):
    """One virtual host of a table: its parts, oldest first, whether it sends plaintext to HTTPS, and where requests go without a part."""

    host: str
    port: int
    parts: tuple[Part, ...]
    redirects: bool
    endpoint: str


@query
def edge(db: Database, proxy: Proxy) -> Edge:
    """Return whose configuration ``proxy`` gets."""
    labels = labels_of(db, proxy)
    found = selected_by(db, labels)
    looked_at = source_label_keys(db, frozenset(written(key) for key in found))
    return Edge(
        proxy.namespace,
        found,
        selecting(db, proxy.namespace, labels, proxy.ips),
        tuple(pair for pair in labels if pair[0] in looked_at),
        effective(db, proxy.namespace, labels),
        topology(db, Key("Pod", proxy.namespace, proxy.name)),
        proxy.identity is not None,
    )


@query
def topology(db: Database, key: Key) -> GatewayTopology:
    """Return what stands before the gateway of the pod ``key``: as its annotation says, else as the settings of the mesh."""
    pod = objects(db, key)
    annotation = pod.meta.annotations.get(PROXY_CONFIG, "") if isinstance(pod, Pod) else ""
    settings = said(annotation).over(proxy_defaults(db)) if annotation else proxy_defaults(db)
    return settings.gateway_topology or GatewayTopology()


def written(key: Key) -> str:
    """Return how VirtualServices name the Gateway ``key``."""
    return f"{key.namespace}/{key.name}"


@query
def selected_by(db: Database, labels: Labels) -> tuple[Key, ...]:
    """Return the Gateways, of whatever namespace, that select a proxy with ``labels``, oldest first; without a selector: every proxy."""
    namespaces = (each.namespace for each in index(db, namespaces_with(KIND)))
    keys = (key for namespace in namespaces for key in index(db, of_kind(KIND, namespace)))
    has = set(labels)
    found = [(created, key) for key in keys if (created := created_of(db, key)) is not None and has.issuperset(selector(db, key))]
    return tuple(key for _, key in sorted(found))


@query
def selector(db: Database, key: Key) -> Labels:
    """Return the labels by which the Gateway ``key`` selects proxies, sorted."""
    value = gateway(db, key)
    return tuple(sorted(value.spec.selector.items())) if value else ()


@query
def created_of(db: Database, key: Key) -> str | None:
    """Return when the Gateway ``key`` was made; ``None`` where there is none."""
    value = gateway(db, key)
    return value.meta.created if value else None


def gateway(db: Database, key: Key) -> Gateway | None:
    """Return the Gateway ``key``."""
    value = objects(db, key)
    return value if isinstance(value, Gateway) else None


@query
def server(db: Database, place: Place) -> Server | None:
    """Return the server at ``place``."""
    value = gateway(db, place.gateway)
    return value.spec.servers[place.at] if value and place.at < len(value.spec.servers) else None


@query
def merged(db: Database, gateways: tuple[Key, ...], services: tuple[Ref, ...]) -> Merged:
    """Return what the servers of ``gateways``, oldest first, come to on a proxy that ``services`` lead to."""
    offers = []
    for key in gateways:
        value = gateway(db, key)
        for at, each in enumerate(value.spec.servers if value else ()):
            offers.append(Offer(Place(key, at), each, targets(db, services, each.port.number)))
    return merge(offers)


@query
def targets(db: Database, services: tuple[Ref, ...], number: int) -> tuple[int, ...]:
    """Return the ports of the proxy that port ``number`` of ``services`` leads to; where none has that port, it itself."""
    found = set()
    for ref in services:
        known = service(db, ref)
        port = known.port(number) if known else None
        if port:
            found.add(target(db, ref, port))
    return tuple(sorted(found)) or (number,)


@query
def tables(db: Database, gateways: tuple[Key, ...], services: tuple[Ref, ...]) -> tuple[Table, ...]:
    """Return the route tables for ``gateways``, sorted by name: one a plaintext port, one a server that terminates TLS."""
    found: dict[str, tuple[Place, ...]] = {}
    for port in merged(db, gateways, services).ports:
        for each in port.servers:
            if serves_http(each.server):
                name = table_name(port, each)
                found[name] = (*found.get(name, ()), each.place)
    return tuple(Table(name, found[name]) for name in sorted(found))


def table_name(port: Port, served: Served) -> str:
    """Return the name of the RouteConfiguration for ``served`` on ``port``."""
    if port.kind is Kind.HTTP:
        return f"http.{port.number}{'.' if port.bind else ''}{port.bind}"
    said, key = served.server.port, served.place.gateway
    return f"https.{said.number}.{said.name}.{key.name}.{key.namespace}"


@query
def bound(db: Database, gateway_key: Key, namespace: str) -> tuple[Head, ...]:
    """Return the VirtualServices that are bound to a Gateway and exported to ``namespace``, oldest first."""
    heads = (head(db, key) for key in index(db, bound_to(written(gateway_key))))
    found = [each for each in heads if each and exported(each.export_to, namespace)]
    return tuple(sorted(found, key=lambda each: (each.created, each.key)))


def shared_hosts(each: Head, place: Place, value: Server) -> tuple[str, ...]:
    """Return the hosts that the VirtualService ``each`` and the server ``value`` at ``place`` have in common."""
    offered = for_namespace(hosts_of(value, place.gateway.namespace), each.key.namespace)
    return intersection((host.lower() for host in each.hosts), offered)


@query
def hosts(db: Database, table: Table, namespace: str) -> tuple[Host, ...]:
    """Return the virtual hosts of ``table`` for proxies of ``namespace``, sorted."""
    found: dict[str, Host] = {}
    for place in table.places:
        value = server(db, place)
        if value is None:
            continue
        own = written(place.gateway)
        for each in bound(db, place.gateway, namespace):
            for name in shared_hosts(each, place, value) if routes_http(db, each.key) else ():
                known = found.get(name) or Host(name, value.port.number, (), redirects=False, endpoint="")
                found[name] = known._replace(parts=_with(known.parts, each.key, own))
        _of_server(found, value, place)
    return tuple(_in_order(db, found[name]) for name in sorted(found))


@query
def routes_http(db: Database, key: Key) -> bool:
    """Return whether the VirtualService ``key`` says anything of requests."""
    value = objects(db, key)
    return isinstance(value, VirtualService) and bool(value.spec.http)


def _with(parts: tuple[Part, ...], key: Key, own: str) -> tuple[Part, ...]:
    known = next((part for part in parts if part.key == key), None)
    if known is None:
        return (*parts, Part(key, (own,)))
    return tuple(Part(key, (*dict.fromkeys((*part.gateways, own)),)) if part is known else part for part in parts)


def _of_server(found: dict[str, Host], value: Server, place: Place) -> None:
    """Put what ``value`` itself says of its hosts: that they are to be asked by HTTPS, or an endpoint beside the proxy."""
    redirects = bool(value.tls and value.tls.https_redirect)
    offered = [each.rpartition("/")[2] for each in hosts_of(value, place.gateway.namespace)]
    for name in offered:
        if (redirects or value.default_endpoint) and name not in found:
            found[name] = Host(name, value.port.number, (), redirects=False, endpoint="")
    for name, known in found.items():
        if intersection((name,), offered) == (name,):
            endpoint = known.endpoint or (endpoint_cluster(place, value) if value.default_endpoint else "")
            found[name] = known._replace(redirects=known.redirects or redirects, endpoint=endpoint)


def endpoint_cluster(place: Place, value: Server) -> str:
    """Return the name of the cluster for the default endpoint of ``value``."""
    return f"inbound|{value.port.number}|{value.port.name}|{place.gateway.name}.{place.gateway.namespace}"


def _in_order(db: Database, value: Host) -> Host:
    """Return ``value`` with its parts oldest first, whichever server brought them."""

    def age(part: Part) -> tuple[str, Key]:
        known = head(db, part.key)
        return (known.created if known else "", part.key)

    return value._replace(parts=tuple(sorted(value.parts, key=age)))
