"""Where the mutual TLS of the mesh goes that passes through gateways of mode ``AUTO_PASSTHROUGH``, as between networks.

Clients name a cluster by their server name, ``outbound_.PORT_.SUBSET_.HOST``, and are authenticated by the endpoint, not by the gateway.
https://istio.io/latest/docs/reference/config/networking/gateway/#ServerTLSSettings-TLSmode
"""

from __future__ import annotations

from collections.abc import Iterator

from controlplane.incremental.database import Database, query
from controlplane.ir.gateway import GatewayChain
from controlplane.ir.listeners import ChainMatch, TcpForwarding
from controlplane.mesh.destinations.clusters import PASSED, ClusterTarget, endpoint_assignment, outbound_cluster
from controlplane.mesh.destinations.destination_rules import rule_client, subsets
from controlplane.mesh.destinations.traffic_policies import tcp_limits
from controlplane.mesh.gateway.gateways import GatewayScope
from controlplane.mesh.gateway.server_merge import MergedServer, server_hosts
from controlplane.mesh.publish.parts import ResourcePart
from controlplane.mesh.registry.services import all_shards, client_namespace_for_services, service, visible_services
from controlplane.model.hosts import ANY, hosts_for_namespace, most_specific
from controlplane.model.protocols import Protocol
from controlplane.model.services import Resolution


def passing_chains(db: Database, scope: GatewayScope, merged_server: MergedServer) -> Iterator[GatewayChain]:
    """Yield a chain for each cluster that clients may name at ``merged_server`` of ``scope``."""
    for target in passed_targets(db, scope, merged_server):
        limits = tcp_limits(db, target.ref, target.client, target.port, target.subset)
        forwarding = TcpForwarding(clusters=((target.name, 1),), limits=limits)
        yield GatewayChain(match=ChainMatch(server_names=(target.name,)), handling=forwarding, passes_peers=True)


def passed_clusters(db: Database, scope: GatewayScope, merged_server: MergedServer) -> Iterator[ResourcePart]:
    """Yield these clusters, with their endpoints where they come from us."""
    for target in passed_targets(db, scope, merged_server):
        yield ResourcePart(outbound_cluster, (target, False))
        mesh_service = service(db, target.ref)
        if mesh_service and mesh_service.resolution is Resolution.ENDPOINTS:
            yield ResourcePart(endpoint_assignment, (target,))


@query
def passed_targets(db: Database, scope: GatewayScope, merged_server: MergedServer) -> tuple[ClusterTarget, ...]:
    """Return the ports and subsets of the mesh's services, visible to ``scope``, that the hosts of ``merged_server`` cover."""
    hosts = server_hosts(merged_server.server, merged_server.server_ref.gateway.namespace)
    targets: list[ClusterTarget] = []
    client_namespace = client_namespace_for_services(db, scope.namespace)
    for ref in sorted(ref for shard in all_shards(db) for ref in visible_services(db, client_namespace, shard)):
        mesh_service = service(db, ref)
        if mesh_service is None or mesh_service.external or mesh_service.resolution is Resolution.PASSTHROUGH or ANY in ref.host:
            continue
        if not all(most_specific(names, ref.host) for names in (hosts_for_namespace(hosts, ref.key.namespace), merged_server.names)):
            continue
        client = rule_client(db, ref, scope.namespace, scope.labels)
        names = ("", *(subset.name for subset in subsets(db, ref, client)))
        numbers = [port.number for port in mesh_service.ports if port.protocol != Protocol.UDP]
        targets += [ClusterTarget(ref, number, name, client, PASSED) for number in numbers for name in names]
    return tuple(targets)
