"""What the parts of a table are called before they are made: a patch that cannot be for a part leaves it as everybody has it."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from typing import NamedTuple, cast

from controlplane.envoy.type_urls import CDS, EDS, LDS, RDS, VHDS
from controlplane.mesh.destinations import clusters
from controlplane.mesh.gateway import listeners as gateway_listeners
from controlplane.mesh.gateway import resources as gateway
from controlplane.mesh.gateway import virtual_hosts as gateway_hosts
from controlplane.mesh.publish.parts import PartGroup, ResourcePart
from controlplane.mesh.registry.services import ServiceRef
from controlplane.mesh.routing import virtual_hosts
from controlplane.mesh.routing.route_tables import RouteTable, TableEntry
from controlplane.mesh.sidecar import inbound, outbound
from controlplane.translate.clusters.clusters import BLACK_HOLE, PASSTHROUGH
from controlplane.translate.listeners.inbound import VIRTUAL_INBOUND
from controlplane.translate.listeners.outbound import VIRTUAL_OUTBOUND
from controlplane.xds.resource import Reference

Args = tuple[Hashable, ...]
_CLUSTERS, _LISTENERS, _ROUTES = frozenset((CDS, EDS)), frozenset((LDS,)), frozenset((RDS, VHDS))
EVERY_TYPE = _CLUSTERS | _LISTENERS | _ROUTES


class _Names(NamedTuple):
    type_url: str
    name: Callable[[Args], str]


def _attribute(name: str) -> Callable[[Args], str]:
    """Return what takes the attribute ``name`` of the first argument."""
    return lambda args: str(getattr(args[0], name))


def _first(args: Args) -> str:
    return str(args[0])


def _member(args: Args) -> str:
    return f"{args[0]}/{cast('TableEntry', args[1]).name}"


def _table(args: Args) -> str:
    return cast("RouteTable", args[1]).name


def _always(name: str) -> Callable[[Args], str]:
    return lambda _: name


_PARTS: Mapping[object, _Names] = {
    clusters.black_hole_cluster: _Names(CDS, _always(BLACK_HOLE)),
    clusters.passthrough_cluster: _Names(CDS, _always(PASSTHROUGH)),
    outbound.virtual_outbound: _Names(LDS, _always(VIRTUAL_OUTBOUND)),
    inbound.virtual_inbound: _Names(LDS, _always(VIRTUAL_INBOUND)),
    clusters.outbound_cluster: _Names(CDS, _attribute("name")),
    clusters.endpoint_assignment: _Names(EDS, _attribute("name")),
    inbound.inbound_cluster: _Names(CDS, _attribute("cluster")),
    outbound.outbound_listener: _Names(LDS, _attribute("name")),
    virtual_hosts.virtual_host_resource: _Names(VHDS, _member),
    virtual_hosts.inline_route_configuration: _Names(RDS, _table),
    virtual_hosts.vhds_route_configuration: _Names(RDS, _attribute("name")),
    gateway_hosts.gateway_vhds_route_configuration: _Names(RDS, _first),
}
_GROUPS: Mapping[object, frozenset[str]] = {
    outbound.clusters_of_shard: _CLUSTERS,
    clusters.service_clusters: _CLUSTERS,
    gateway.gateway_clusters: _CLUSTERS,
    outbound.outbound_listeners: _LISTENERS,
    gateway_listeners.gateway_listeners: _LISTENERS,
    virtual_hosts.route_table_parts: _ROUTES,
    virtual_hosts.virtual_hosts_of_shard: _ROUTES,
    gateway_hosts.gateway_table_parts: _ROUTES,
}


def reference_of(part: ResourcePart) -> Reference | None:
    """Return the type and name of what ``part`` makes, ``None`` where only the resource says so."""
    names = _PARTS.get(part.query)
    return (names.type_url, names.name(part.args)) if names else None


def types_in(group: PartGroup) -> frozenset[str]:
    """Return the types of what ``group`` makes."""
    return _GROUPS.get(group.query, EVERY_TYPE)


def service_of(group: PartGroup) -> str | None:
    """Return the host whose clusters ``group`` makes, ``None`` where they are of several."""
    return cast("ServiceRef", group.args[0]).host if group.query is clusters.service_clusters else None


def table_of(group: PartGroup) -> str | None:
    """Return the name of the route configuration that ``group`` makes, ``None`` where it makes anything else."""
    if group.query is virtual_hosts.route_table_parts:
        return _table(group.args)
    return str(group.args[1]) if group.query is gateway_hosts.gateway_table_parts else None
