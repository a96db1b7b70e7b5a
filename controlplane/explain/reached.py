"""What a cluster leads to, and whether connections to it are secured: for who shows the mesh as a whole."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice

from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.config.endpoint.v3.endpoint_pb2 import ClusterLoadAssignment

from controlplane.envoy.type_urls import CDS, EDS
from controlplane.simulation.upstream.transport import transport_of
from controlplane.xds.view import View

_MOST_ENDPOINTS = 500  # of one cluster that are looked at


@dataclass(frozen=True, slots=True)
class ReachedEndpoints:
    """The ``addresses`` that a cluster leads to, without ports, and for how many of its ``count`` endpoints TLS is mutual."""

    addresses: frozenset[str]
    count: int
    mutual: int


def versions_of(view: View, cluster: str) -> tuple[str, str] | None:
    """Return the versions of ``cluster`` and of its endpoints as ``view`` has them: where they are equal, so is what it leads to."""
    resource, endpoints = view.get(CDS, cluster), view.get(EDS, cluster)
    return (resource.version, endpoints.version if endpoints else "") if resource else None


def reached_by(view: View, cluster_name: str) -> ReachedEndpoints | None:
    """Return what ``cluster_name`` of ``view`` leads to; ``None``: there is no such cluster."""
    resource = view.get(CDS, cluster_name)
    if resource is None:
        return None
    cluster = Cluster.FromString(resource.value)
    named = view.get(EDS, cluster.eds_cluster_config.service_name or cluster_name)
    assignment = ClusterLoadAssignment.FromString(named.value) if named else cluster.load_assignment
    all_of_them = (each for locality in assignment.endpoints for each in locality.lb_endpoints)
    addresses: set[str] = set()
    count = mutual = 0
    for endpoint in islice(all_of_them, _MOST_ENDPOINTS):
        count += 1
        addresses.add(endpoint.endpoint.address.socket_address.address)
        tls = transport_of(cluster, endpoint).tls
        mutual += tls is not None and bool(tls.common_tls_context.tls_certificate_sds_secret_configs)
    return ReachedEndpoints(frozenset(addresses), count, mutual)
