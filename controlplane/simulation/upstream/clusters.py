"""The endpoints of a cluster that may get a connection or a request.

https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/upstream/service_discovery
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.config.core.v3.address_pb2 import Address as AddressMessage
from envoy.config.core.v3.base_pb2 import Metadata
from envoy.config.endpoint.v3.endpoint_components_pb2 import LbEndpoint
from envoy.config.endpoint.v3.endpoint_pb2 import ClusterLoadAssignment

from controlplane.simulation.arrival import Arrival
from controlplane.simulation.resources import Resources
from controlplane.simulation.result import Forwarded, Outcome, Stage, Walk
from controlplane.simulation.traffic import Address
from controlplane.simulation.upstream.priorities import available
from controlplane.simulation.upstream.subsets import subset

_KINDS = {
    Cluster.STATIC: "its own list",
    Cluster.STRICT_DNS: "the addresses of its host names",
    Cluster.LOGICAL_DNS: "the first address of its host name",
    Cluster.EDS: "its EDS answer",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Balancing:
    """What of a route or a TCP proxy bears on which endpoint is taken.

    ``criteria`` choose a subset; ``hashes`` says in words by what the same endpoint is taken again; ``headers`` are those of the request.
    """

    criteria: Metadata = field(default_factory=Metadata)
    hashes: str = ""
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Unusable:
    """A cluster that can send nothing on; ``missing``: there is none of that name; ``undecided``: how it chooses is not simulated."""

    walk: Walk
    missing: bool = False
    undecided: bool = False


def endpoints_of(walk: Walk, name: str, resources: Resources, arrival: Arrival, balancing: Balancing) -> Outcome | Unusable:
    """Return where the cluster ``name`` sends it."""
    cluster = resources.clusters.get(name)
    if cluster is None:
        return Unusable(walk.step(Stage.CLUSTER, name, "", "there is no cluster of this name"), missing=True)
    if cluster.HasField("cluster_type"):
        says = f"clusters of the type {cluster.cluster_type.name} are not simulated"
        return Unusable(walk.step(Stage.CLUSTER, name, "", says), undecided=True)
    if cluster.type == Cluster.ORIGINAL_DST:
        return _original_destination(walk, cluster, arrival, balancing)
    assignment = _assignment(cluster, resources)
    if assignment is None:
        return Unusable(walk.step(Stage.CLUSTER, name, "", "nothing is known of its endpoints"))
    chosen, by_subset = subset(cluster, assignment, balancing.criteria)
    endpoints, by_health = available(cluster, assignment, chosen)
    reason = "; ".join(filter(None, (_KINDS.get(cluster.type, ""), by_subset, by_health, _by_hash(balancing))))
    if not endpoints:
        return Unusable(walk.step(Stage.CLUSTER, name, "", reason))
    found = frozenset(map(endpoint_address, endpoints))
    return walk.step(Stage.CLUSTER, name, _listed(found), reason).ends(Forwarded(name, found))


def _assignment(cluster: Cluster, resources: Resources) -> ClusterLoadAssignment | None:
    if cluster.type == Cluster.EDS:
        return resources.endpoints.get(cluster.eds_cluster_config.service_name or cluster.name)
    return cluster.load_assignment


def _original_destination(walk: Walk, cluster: Cluster, arrival: Arrival, balancing: Balancing) -> Outcome | Unusable:
    """Return where the client itself wanted to go, or what the header says that the cluster believes.

    https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/upstream/service_discovery#original-destination
    """
    options = cluster.original_dst_lb_config
    port = options.upstream_port_override.value
    header = (options.http_header_name or "x-envoy-original-dst-host").lower()
    by_header = next((value for name, value in balancing.headers if name.lower() == header), "") if options.use_http_header else ""
    if by_header:
        found, reason = by_header, f"the header {header} says so"
    elif arrival.restored:
        found = str(Address(arrival.local.ip, port or arrival.local.port))
        reason = "the cluster keeps the address that the client chose"
    else:
        says = "the cluster keeps the address that the client chose, and the connection was not redirected from any"
        return Unusable(walk.step(Stage.CLUSTER, cluster.name, "", says))
    return walk.step(Stage.CLUSTER, cluster.name, found, reason).ends(Forwarded(cluster.name, frozenset([found])))


def _by_hash(balancing: Balancing) -> str:
    return f"always the same one by {balancing.hashes}" if balancing.hashes else ""


def _listed(found: Iterable[str]) -> str:
    return ", ".join(sorted(found))


def endpoint_address(endpoint: LbEndpoint) -> str:
    """Return the address of ``endpoint`` as Envoy writes it."""
    return _written(endpoint.endpoint.address)


def _written(address: AddressMessage) -> str:
    match address.WhichOneof("address"):
        case "socket_address":
            return str(Address(address.socket_address.address, address.socket_address.port_value))
        case "pipe":
            return address.pipe.path
        case _:
            return address.envoy_internal_address.server_listener_name
