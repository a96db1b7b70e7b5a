"""The cluster by which a proxy fetches modules from its control plane."""

from __future__ import annotations

from envoy.config.cluster.v3.cluster_pb2 import Cluster

from controlplane.model.hosts import is_ip
from controlplane.translate.addresses import milliseconds, socket_address
from controlplane.translate.tls.mesh import control_plane

MODULES = "navarch-modules"


def modules_cluster(address: str, *, connect_timeout_ms: int) -> Cluster:
    """Return the cluster that leads to ``address``, ``HOST:PORT``, by TLS with the workload's certificate."""
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    return Cluster(
        name=MODULES,
        type=Cluster.STATIC if is_ip(host) else Cluster.STRICT_DNS,
        dns_lookup_family=Cluster.ALL,
        connect_timeout=milliseconds(connect_timeout_ms),
        load_assignment={
            "cluster_name": MODULES,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": socket_address(host, int(port))}}]}],
        },
        transport_socket=control_plane(host),
    )
