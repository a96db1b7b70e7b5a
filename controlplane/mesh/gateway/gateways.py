"""Which Gateways a proxy at the edge of the mesh has, and what their servers come to on it. A Sidecar says nothing to such a proxy."""

from __future__ import annotations

from typing import NamedTuple

from controlplane.incremental.database import Database, query
from controlplane.mesh.gateway.server_merge import Merged, Offer, Place, merge
from controlplane.mesh.inputs import index, namespaces_with, objects, of_kind
from controlplane.mesh.registry.mesh_settings import proxy_defaults
from controlplane.mesh.registry.services import Ref, service
from controlplane.mesh.routing.scopes import labels_of, source_label_keys
from controlplane.mesh.sidecar.inbound import selecting, target
from controlplane.model.keys import Key
from controlplane.model.proxies import Proxy
from controlplane.model.services import Labels
from controlplane.objects.kubernetes.core import Pod
from controlplane.objects.networking.gateway import Gateway, Server
from controlplane.objects.networking.proxy_config import GatewayTopology, said

KIND = "Gateway"
PROXY_CONFIG = "proxy.istio.io/config"


class Edge(NamedTuple):
    """Whose configuration it is: the replicas of a gateway share it. What comes and goes, Gateways and policies, is looked up by it."""

    namespace: str
    labels: Labels
    services: tuple[Ref, ...]  # those that lead to it
    topology: GatewayTopology  # what stands before it
    identified: bool  # it has a certificate of its own


class Viewer(NamedTuple):
    """Whose routes are asked for."""

    namespace: str
    labels: Labels  # only those that some route's source labels look at


@query
def edge(db: Database, proxy: Proxy) -> Edge:
    """Return whose configuration ``proxy`` gets."""
    labels = labels_of(db, proxy)
    return Edge(
        proxy.namespace,
        labels,
        selecting(db, proxy.namespace, labels, proxy.ips),
        topology(db, Key("Pod", proxy.namespace, proxy.name)),
        proxy.identity is not None,
    )


@query
def viewer(db: Database, edge: Edge) -> Viewer:
    """Return whose routes ``edge`` has."""
    looked_at = source_label_keys(db, frozenset(written(key) for key in selected_by(db, edge.labels)))
    return Viewer(edge.namespace, tuple(pair for pair in edge.labels if pair[0] in looked_at))


@query
def served(db: Database, edge: Edge) -> Merged:
    """Return what the servers of the Gateways of ``edge`` come to."""
    return merged(db, selected_by(db, edge.labels), edge.services)


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
