"""The clusters of a service and the endpoints behind them, as resources."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from controlplane.envoy.type_urls import CDS, EDS
from controlplane.incremental.database import Database, query
from controlplane.ir.clusters import ClusterPolicy, OriginalDestination, OutboundCluster, UpstreamPeer
from controlplane.ir.tls import OriginatedTls, Peer, PlainUpstream
from controlplane.mesh.destinations.destination_rules import RuleClient, applicable_rules, subset_labels, subsets
from controlplane.mesh.destinations.traffic_policies import traffic_policy
from controlplane.mesh.faults.remaining import remaining_endpoints
from controlplane.mesh.publish.encode import checked_resource
from controlplane.mesh.publish.parts import Members, ResourcePart
from controlplane.mesh.registry.endpoints import endpoints, subset_endpoints
from controlplane.mesh.registry.mesh_settings import mesh_settings
from controlplane.mesh.registry.services import ServiceRef, service
from controlplane.mesh.registry.workload_names import counts_by_names
from controlplane.model.cluster_names import OUTBOUND, cluster_name, sni_name
from controlplane.model.protocols import Protocol
from controlplane.model.services import Endpoint, Resolution, Service, ServicePort
from controlplane.model.trust_domains import SPIFFE_SCHEME, uris_with_aliases
from controlplane.translate.clusters import clusters as translate
from controlplane.translate.clusters.endpoints import load_assignment
from controlplane.translate.faults.chosen_endpoints import RemainingEndpoints
from controlplane.xds.resource import Resource

PASSED = "passed"  # use: mutual TLS comes through a gateway and goes on as it is, to endpoints that take it


class ClusterTarget(NamedTuple):
    """What one cluster leads to, by the rules for ``client``."""

    ref: ServiceRef
    port: int
    subset: str
    client: RuleClient
    use: str = OUTBOUND  # what it is for

    @property
    def name(self) -> str:
        """Return the name of the cluster, ``USE|PORT|SUBSET|HOST``; where TLS passes through, the server name that asks for it."""
        if self.use == PASSED:
            return sni_name(OUTBOUND, self.port, self.subset, self.ref.host)
        return cluster_name(self.use, self.port, self.subset, self.ref.host)


@query
def service_clusters(db: Database, ref: ServiceRef, client: RuleClient, identified: bool) -> Members:  # noqa: FBT001 - a part of the key
    """Return the clusters of every port and subset of ``ref``, with their endpoints where these are sent by EDS.

    ``identified``: for proxies that have a certificate.
    """
    mesh_service = service(db, ref)
    if mesh_service is None:
        return frozenset()
    names = ("", *(subset.name for subset in subsets(db, ref, client)))
    targets = [
        ClusterTarget(ref, port.number, name, client) for port in mesh_service.ports if port.protocol != Protocol.UDP for name in names
    ]
    parts = {ResourcePart(outbound_cluster, (target, identified)) for target in targets}
    if mesh_service.resolution is Resolution.ENDPOINTS:
        parts |= {ResourcePart(endpoint_assignment, (target,)) for target in targets}
    return frozenset(parts)


@query
def outbound_cluster(db: Database, target: ClusterTarget, identified: bool) -> Resource | None:  # noqa: FBT001 - a part of the key
    """Return the cluster of ``target``, for proxies that have a certificate (``identified``) or those that have none."""
    service_and_port = _service_port(db, target)
    if service_and_port is None or (target.subset and subset_labels(db, target.ref, target.client, target.subset) is None):
        return None
    mesh_service, port = service_and_port
    policy = _cluster_policy(db, target, mesh_service, port)
    chooses = not isinstance(policy.load_balancing, OriginalDestination)
    cluster = OutboundCluster(
        name=target.name,
        host=target.ref.host,
        namespace=mesh_service.namespace,
        service=mesh_service.name,
        port=port,
        subset=target.subset,
        resolution=mesh_service.resolution,
        policy=policy,
        rule=_rule_path(db, target),
        endpoints=_cluster_endpoints(db, target) if mesh_service.resolution in (Resolution.DNS, Resolution.DNS_ROUND_ROBIN) else (),
        connect_timeout_ms=mesh_settings(db).connect_timeout_ms,
        peer=_peer(db, target, mesh_service, chooses=chooses) if identified else None,
        by_address=mesh_service.by_address,
        named=counts_by_names(db),
    )
    remaining = _remaining(db, target, mesh_service)
    return checked_resource(CDS, target.name, translate.outbound_cluster(cluster, remaining))


def _cluster_policy(db: Database, target: ClusterTarget, mesh_service: Service, port: ServicePort) -> ClusterPolicy:
    """Return the policy for ``target``; what it leaves open is as the mesh and the service have it."""
    policy = traffic_policy(db, target.ref, target.client, target.port, target.subset)
    if policy.pool.upgrade is None:
        policy = replace(policy, pool=replace(policy.pool, upgrade=mesh_settings(db).upgrades and port.protocol is Protocol.HTTP))
    if isinstance(policy.tls, OriginatedTls) and policy.tls.authority and not policy.tls.names:
        policy = replace(policy, tls=replace(policy.tls, names=mesh_service.identities))
    if target.use == PASSED:
        policy = replace(policy, tls=PlainUpstream())
    return policy


def _peer(db: Database, target: ClusterTarget, mesh_service: Service, *, chooses: bool) -> UpstreamPeer:
    """Return the peer of ``target``: the accounts of its instances, or, as long as one is not known, any of its namespace.

    ``chooses``: the proxy chooses the instance; otherwise a connection goes to where it was going.
    """
    trust_domains = mesh_settings(db).trust_domains
    accounts = service_accounts(db, target.ref, target.port)
    namespace_prefix = f"{SPIFFE_SCHEME}{trust_domains[0]}/ns/{mesh_service.namespace}/sa/"
    names = uris_with_aliases(mesh_service.identities or (namespace_prefix + account for account in accounts), trust_domains)
    peer = Peer(names=names) if names else Peer(within=uris_with_aliases((namespace_prefix,), trust_domains))
    automatic = not mesh_service.external and mesh_service.resolution is not Resolution.PASSTHROUGH
    everywhere = automatic and not chooses and all_take_mutual_tls(db, target.ref, target.port)
    return UpstreamPeer(peer, sni_name(OUTBOUND, target.port, target.subset, target.ref.host), automatic, everywhere)


@query
def all_take_mutual_tls(db: Database, ref: ServiceRef, port: int) -> bool:
    """Return whether there are instances of ``ref``, and all of them take mutual TLS."""
    instances = endpoints(db, ref, port)
    return bool(instances) and all(endpoint.mutual_tls for endpoint in instances)


@query
def service_accounts(db: Database, ref: ServiceRef, port: int) -> tuple[str, ...]:
    """Return the service accounts of the instances of ``ref`` that take mutual TLS, sorted; none where one is not known."""
    accounts = {endpoint.account for endpoint in endpoints(db, ref, port) if endpoint.mutual_tls}
    return () if "" in accounts else tuple(sorted(accounts))


@query
def endpoint_assignment(db: Database, target: ClusterTarget) -> Resource | None:
    """Return the endpoints of ``target``; none of them ready makes an empty assignment, not an absent one."""
    service_and_port = _service_port(db, target)
    if service_and_port is None:
        return None
    mesh_service = service_and_port[0]
    named_in = mesh_service.namespace if counts_by_names(db) else ""
    found, remaining = _cluster_endpoints(db, target), _remaining(db, target, mesh_service)
    assignment = load_assignment(target.name, found, by_address=mesh_service.by_address, named_in=named_in, remaining=remaining)
    return checked_resource(EDS, target.name, assignment)


@query
def has_endpoints(db: Database, target: ClusterTarget) -> bool:
    """Return whether there is an instance behind ``target``."""
    return bool(_cluster_endpoints(db, target))


def _service_port(db: Database, target: ClusterTarget) -> tuple[Service, ServicePort] | None:
    mesh_service = service(db, target.ref)
    port = mesh_service.port(target.port) if mesh_service else None
    return (mesh_service, port) if mesh_service and port else None


def _cluster_endpoints(db: Database, target: ClusterTarget) -> tuple[Endpoint, ...]:
    labels = subset_labels(db, target.ref, target.client, target.subset) if target.subset else ()
    if labels is None:
        return ()
    found = subset_endpoints(db, target.ref, target.port, labels) if target.subset else endpoints(db, target.ref, target.port)
    return tuple(endpoint for endpoint in found if endpoint.mutual_tls) if target.use == PASSED else found


def _remaining(db: Database, target: ClusterTarget, mesh_service: Service) -> RemainingEndpoints | None:
    """Return which endpoints remain while a drill takes others out, ``None``: it does not; clients choose those of headless services."""
    if mesh_service.resolution is not Resolution.ENDPOINTS or mesh_service.by_address or target.use == PASSED:
        return None
    return remaining_endpoints(db, target.ref, target.port)


def _rule_path(db: Database, target: ClusterTarget) -> str:
    rules = applicable_rules(db, target.ref, target.client)
    if not rules:
        return ""
    return f"/apis/networking.istio.io/v1/namespaces/{rules[0].namespace}/destination-rule/{rules[0].name}"


@query
def black_hole_cluster(db: Database) -> Resource | None:
    """Return the cluster that leads nowhere."""
    return checked_resource(CDS, translate.BLACK_HOLE, translate.black_hole(named=counts_by_names(db)))


@query
def passthrough_cluster(db: Database) -> Resource | None:
    """Return the cluster that leads where the connection was going."""
    message = translate.pass_through(connect_timeout_ms=mesh_settings(db).connect_timeout_ms, named=counts_by_names(db))
    return checked_resource(CDS, translate.PASSTHROUGH, message)
