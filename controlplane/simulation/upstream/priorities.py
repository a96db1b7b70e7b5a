"""Which endpoints get load, by their health and priority.

A priority gets as much of the load as it is available, times 1.4 (the overprovisioning factor); what is left goes to the next. Fewer
healthy ones than ``healthy_panic_threshold`` (50 %, where it is not set), and too little left for others: panic, and all of it get load.
https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/upstream/load_balancing/priority
https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/upstream/load_balancing/panic_threshold
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.config.core.v3.health_check_pb2 import DEGRADED, HEALTHY, UNKNOWN
from envoy.config.endpoint.v3.endpoint_components_pb2 import LbEndpoint
from envoy.config.endpoint.v3.endpoint_pb2 import ClusterLoadAssignment

_OVERPROVISIONING = 140
_PANIC_PERCENT = 50
_ALL = 100


@dataclass(slots=True)
class _Priority:
    everybody: list[LbEndpoint] = field(default_factory=list)
    healthy: list[LbEndpoint] = field(default_factory=list)
    degraded: list[LbEndpoint] = field(default_factory=list)

    def availability(self, of: Sequence[LbEndpoint], factor: int) -> int:
        """Return the share of ``of`` in all, in percent, times ``factor`` percent."""
        return min(_ALL, factor * len(of) // len(self.everybody)) if self.everybody else 0

    def panics(self, threshold: int) -> bool:
        """Return whether fewer than ``threshold`` percent are fit."""
        fit = len(self.healthy) + len(self.degraded)
        return (bool(threshold) and _ALL * fit < threshold * len(self.everybody)) or not self.everybody


def available(cluster: Cluster, assignment: ClusterLoadAssignment, chosen: Sequence[LbEndpoint]) -> tuple[list[LbEndpoint], str]:
    """Return which of ``chosen``, endpoints of ``assignment``, get load, and why these."""
    priorities = _by_priority(cluster, assignment, chosen)
    factor = assignment.policy.overprovisioning_factor.value or _OVERPROVISIONING
    options = cluster.common_lb_config
    threshold = round(options.healthy_panic_threshold.value) if options.HasField("healthy_panic_threshold") else _PANIC_PERCENT
    health = [each.availability(each.healthy, factor) for each in priorities]
    degraded = [each.availability(each.degraded, factor) for each in priorities]
    total = min(_ALL, sum(health) + sum(degraded))
    panics = [total < _ALL and each.panics(threshold) for each in priorities]
    if threshold and all(panics):
        return [endpoint for each in priorities for endpoint in each.everybody], "all, as too few are healthy (panic)"
    found: list[LbEndpoint] = []
    left = _ALL
    for fit, availability in (("healthy", health), ("degraded", degraded)):
        for each, percent, panic in zip(priorities, availability, panics, strict=True):
            load = min(left, percent * _ALL // total) if total else 0
            left -= load
            if load:
                found += each.everybody if panic else getattr(each, fit)
    return found, _health(priorities, found)


def _by_priority(cluster: Cluster, assignment: ClusterLoadAssignment, chosen: Sequence[LbEndpoint]) -> list[_Priority]:
    taken = {id(endpoint) for endpoint in chosen}
    weighted = cluster.common_lb_config.HasField("locality_weighted_lb_config")
    priorities = [_Priority() for _ in range(1 + max((each.priority for each in assignment.endpoints), default=0))]
    for locality in assignment.endpoints:
        weightless = weighted and not locality.load_balancing_weight.value
        for endpoint in locality.lb_endpoints:
            if id(endpoint) not in taken or weightless:
                continue
            priority = priorities[locality.priority]
            priority.everybody.append(endpoint)
            if endpoint.health_status in {UNKNOWN, HEALTHY}:
                priority.healthy.append(endpoint)
            elif endpoint.health_status == DEGRADED:
                priority.degraded.append(endpoint)
    return priorities


def _health(priorities: Sequence[_Priority], found: Sequence[LbEndpoint]) -> str:
    everybody = sum(len(each.everybody) for each in priorities)
    if not everybody:
        return "it has no endpoints"
    if not found:
        return "none of its endpoints is healthy"
    return "all are healthy" if len(found) == everybody else f"{len(found)} of {everybody} by health and priority"
