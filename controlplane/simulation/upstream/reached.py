"""What a cluster leads to, and whether connections to it are secured: for who shows the mesh as a whole."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice

from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.config.endpoint.v3.endpoint_pb2 import ClusterLoadAssignment

from controlplane.simulation.upstream.transport import transport_of

_MOST_ENDPOINTS = 500  # of one cluster that are looked at


@dataclass(frozen=True, slots=True)
class ReachedEndpoints:
    """The ``addresses`` that a cluster leads to, without ports, and for how many of its ``count`` endpoints TLS is mutual."""

    addresses: frozenset[str]
    count: int
    mutual: int


def reached_by(encoded: bytes, assignment_of: Callable[[str], bytes | None]) -> ReachedEndpoints:
    """Return what the ``encoded`` Cluster leads to; ``assignment_of`` has the encoded ClusterLoadAssignment of a name, if there is one."""
    cluster = Cluster.FromString(encoded)
    by_eds = assignment_of(cluster.eds_cluster_config.service_name or cluster.name)
    assignment = cluster.load_assignment if by_eds is None else ClusterLoadAssignment.FromString(by_eds)
    all_of_them = (each for locality in assignment.endpoints for each in locality.lb_endpoints)
    addresses: set[str] = set()
    count = mutual = 0
    for endpoint in islice(all_of_them, _MOST_ENDPOINTS):
        count += 1
        addresses.add(endpoint.endpoint.address.socket_address.address)
        tls = transport_of(cluster, endpoint).tls
        mutual += tls is not None and bool(tls.common_tls_context.tls_certificate_sds_secret_configs)
    return ReachedEndpoints(frozenset(addresses), count, mutual)
