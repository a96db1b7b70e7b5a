"""Endpoints that are taken out of a service while a drill runs.

They stay what they are, so that nothing has to be sent when they come back: those that remain are marked, and the caller asks for marked
ones, by metadata of the request, as long as the fault is in force.
https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/upstream/load_balancing/subsets
"""

from __future__ import annotations

from typing import NamedTuple

from envoy.config.cluster.v3.cluster_pb2 import Cluster

from controlplane.model.faults.faults import FaultId

_REMAINS = "remains"


class RemainingEndpoints(NamedTuple):
    """The ``addresses`` of endpoints that remain under the fault ``id``."""

    id: FaultId
    addresses: frozenset[str]


def chosen_by(fault_id: FaultId) -> dict[str, str]:
    """Return the mark of endpoints that remain under ``fault_id``."""
    return {f"drill/{fault_id}": _REMAINS}


def choose_among_remaining(cluster: Cluster, fault_id: FaultId) -> None:
    """Have ``cluster`` send requests that ask for endpoints that remain under ``fault_id`` to those, and where there is none, nowhere."""
    cluster.lb_subset_config.fallback_policy = Cluster.LbSubsetConfig.ANY_ENDPOINT
    selector = Cluster.LbSubsetConfig.LbSubsetSelector
    cluster.lb_subset_config.subset_selectors.add(keys=sorted(chosen_by(fault_id)), fallback_policy=selector.NO_FALLBACK)
    if cluster.common_lb_config.HasField("locality_weighted_lb_config"):
        cluster.lb_subset_config.locality_weight_aware = True
