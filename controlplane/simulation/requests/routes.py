"""Which route of a virtual host a request gets, and to which clusters it may lead.

The first that fits in all it asks. ``runtime_fraction`` lets a share of the requests through; the same random number picks the cluster by
weight afterwards (``Walk.draws``).
https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/http/http_routing
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from envoy.config.core.v3.base_pb2 import Metadata
from envoy.config.route.v3.route_components_pb2 import Route, VirtualHost, WeightedCluster
from envoy.config.route.v3.route_pb2 import RouteConfiguration

from controlplane.simulation.matching.head import Head
from controlplane.simulation.requests.faults import MODULI
from controlplane.simulation.requests.matches import misfit
from controlplane.simulation.result import Lost, Stage, Walk
from controlplane.simulation.upstream.subsets import merged_criteria

_FITS = "it is the first that fits"
_UNSUPPORTED = ("tls_context", "path_match_policy")


@dataclass(frozen=True, slots=True)
class Fitting:
    """A way to ``route``; ``None`` where no route of the virtual host fits, or it depends on what is not simulated (``undecided``)."""

    walk: Walk
    route: Route | None
    undecided: bool = False


@dataclass(frozen=True, slots=True)
class Target:
    """A way to the cluster of the name ``cluster``; ``weighted`` is its entry in the route's weights, where it is there."""

    walk: Walk
    cluster: str
    criteria: Metadata
    weighted: WeightedCluster.ClusterWeight | None = None


def fitting_routes(walk: Walk, table: RouteConfiguration, host: VirtualHost, head: Head) -> Iterator[Fitting]:
    """Yield the ways to the routes of ``host`` that a request with ``head`` may get."""
    lost: list[Lost] = []
    for index, route in enumerate(host.routes):
        label = route.name or f"routes[{index}]"
        if wrong := misfit(route.match, head, ignores_parameters=table.ignore_path_parameters_in_path_matching):
            lost.append(Lost(label, wrong, index))
            continue
        before = tuple(lost)
        if _asks_unsupported(route):
            yield Fitting(walk.step(Stage.ROUTE, host.name, label, "it asks what is not simulated", before, index), None, undecided=True)
            return
        if not route.match.HasField("runtime_fraction"):
            yield Fitting(walk.step(Stage.ROUTE, host.name, label, _FITS, before, index), route)
            return
        share = route.match.runtime_fraction.default_value
        modulus = MODULI[share.denominator]
        taken, others = walk.drawing(modulus, 0, share.numerator), walk.drawing(modulus, share.numerator, modulus)
        if taken is not None:
            says = f"{_FITS}, with {share.numerator} of {modulus} requests"
            yield Fitting(taken.step(Stage.ROUTE, host.name, label, says, before, index), route)
        if others is None:
            return
        walk = others
        lost.append(Lost(label, f"it is for {share.numerator} of {modulus} requests", index))
    says = "none of its routes fits" if lost else "it has no routes"
    yield Fitting(walk.step(Stage.ROUTE, host.name, "", says, tuple(lost)), None)


def _asks_unsupported(route: Route) -> bool:
    return any(route.match.HasField(name) for name in _UNSUPPORTED) or bool(route.match.dynamic_metadata or route.match.filter_state)


def targets_of(walk: Walk, route: Route, head: Head) -> Iterator[Target] | None:
    """Return the ways to the clusters that ``route`` may forward a request to; ``None`` where something unknown chooses it."""
    action = route.route
    match action.WhichOneof("cluster_specifier"):
        case "cluster":
            return iter([Target(walk, action.cluster, action.metadata_match)])
        case "cluster_header":
            name = head.value(action.cluster_header) or ""
            named = walk.step(Stage.ROUTE, route.name, name, f"the header {action.cluster_header} names the cluster")
            return iter([Target(named, name, action.metadata_match)])
        case "weighted_clusters" if not action.weighted_clusters.header_name and not action.weighted_clusters.use_hash_policy.value:
            return _by_weight(walk, route, head)
        case _:
            return None


def _by_weight(walk: Walk, route: Route, head: Head) -> Iterator[Target]:
    clusters = route.route.weighted_clusters.clusters
    total = sum(each.weight.value for each in clusters)
    low = 0
    for each in clusters:
        taken = walk.drawing(total, low, low + each.weight.value)
        low += each.weight.value
        if taken is None:
            continue
        name = each.name or head.value(each.cluster_header) or ""
        criteria = merged_criteria(route.route.metadata_match, each.metadata_match)
        yield Target(taken.step(Stage.ROUTE, route.name, name, f"{each.weight.value} of {total} requests go there"), name, criteria, each)
