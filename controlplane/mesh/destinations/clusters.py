"""The clusters of a service and the endpoints behind them, as resources."""

from __future__ import annotations

from typing import NamedTuple

from controlplane.envoy.type_urls import CDS, EDS
from controlplane.incremental.database import Database, query
from controlplane.mesh.destinations.destination_rules import labels_of_subset, policy, rules, subsets
from controlplane.mesh.publish.encode import checked
from controlplane.mesh.publish.parts import Leaf, Members
from controlplane.mesh.registry.endpoints import endpoints, in_subset
from controlplane.mesh.registry.mesh_settings import settings
from controlplane.mesh.registry.services import Ref, service
from controlplane.model.cluster_names import OUTBOUND, cluster_name, sni_name
from controlplane.model.protocols import Protocol
from controlplane.model.services import Endpoint, Resolution, Service, ServicePort
from controlplane.model.trust_domains import SCHEME, aliased_uris
from controlplane.translate import clusters as translate
from controlplane.translate.cluster_tls import Towards
from controlplane.translate.endpoints import load_assignment
from controlplane.translate.tls import Peer
from controlplane.xds.resource import Resource


class Target(NamedTuple):
    """What one cluster leads to, for those who see the rules of ``seer``."""

    ref: Ref
    port: int
    subset: str
    seer: str
    use: str = OUTBOUND  # what it is for

    @property
    def name(self) -> str:
        """Return the name of the cluster, ``USE|PORT|SUBSET|HOST``."""
        return cluster_name(self.use, self.port, self.subset, self.ref.host)


@query
def clusters_of(db: Database, ref: Ref, seer: str, identified: bool) -> Members:  # noqa: FBT001 - a part of the key
    """Return the clusters of every port and subset of ``ref``, with their endpoints where these come from us.

    ``identified``: for proxies that have a certificate.
    """
    known = service(db, ref)
    if known is None or ("*" in ref.host and known.resolution is not Resolution.PASSTHROUGH):
        return frozenset()
    names = ("", *(each.name for each in subsets(db, ref, seer)))
    targets = [Target(ref, port.number, name, seer) for port in known.ports if port.protocol != Protocol.UDP for name in names]
    found = {Leaf(cluster, (target, identified)) for target in targets}
    if known.resolution is Resolution.ENDPOINTS:
        found |= {Leaf(assignment, (target,)) for target in targets}
    return frozenset(found)


@query
def cluster(db: Database, target: Target, identified: bool) -> Resource | None:  # noqa: FBT001 - a part of the key
    """Return the cluster of ``target``, for proxies that have a certificate (``identified``) or those that have none."""
    found = _port(db, target)
    if found is None or (target.subset and labels_of_subset(db, target.ref, target.seer, target.subset) is None):
        return None
    known, port = found
    value = translate.OutboundCluster(
        name=target.name,
        host=target.ref.host,
        namespace=known.namespace,
        service=known.name,
        port=port,
        subset=target.subset,
        resolution=known.resolution,
        policy=policy(db, target.ref, target.seer, target.port, target.subset),
        rule=_rule_path(db, target),
        endpoints=_members(db, target) if known.resolution in (Resolution.DNS, Resolution.DNS_ROUND_ROBIN) else (),
        connect_timeout_ms=settings(db).connect_timeout_ms,
        towards=_towards(db, target, known) if identified else None,
    )
    return checked(CDS, target.name, translate.outbound_cluster(value))


def _towards(db: Database, target: Target, known: Service) -> Towards:
    """Return who is behind ``target``: the accounts of its instances, or, as long as one is not known, anybody of its namespace."""
    trusted = settings(db).trust_domains
    accounts = accounts_of(db, target.ref, target.port)
    everybody = f"{SCHEME}{trusted[0]}/ns/{known.namespace}/sa/"
    names = aliased_uris(known.identities or (everybody + each for each in accounts), trusted)
    peer = Peer(names=names) if names else Peer(within=aliased_uris((everybody,), trusted))
    automatic = not known.external and known.resolution is not Resolution.PASSTHROUGH
    return Towards(peer, sni_name(OUTBOUND, target.port, target.subset, target.ref.host), automatic)


@query
def accounts_of(db: Database, ref: Ref, port: int) -> tuple[str, ...]:
    """Return the service accounts of the instances of ``ref`` that take mutual TLS, sorted; none where one is not known."""
    found = {each.account for each in endpoints(db, ref, port) if each.mutual}
    return () if "" in found else tuple(sorted(found))


@query
def assignment(db: Database, target: Target) -> Resource | None:
    """Return the endpoints of ``target``; none of them ready makes an empty assignment, not an absent one."""
    if _port(db, target) is None:
        return None
    return checked(EDS, target.name, load_assignment(target.name, _members(db, target)))


def _port(db: Database, target: Target) -> tuple[Service, ServicePort] | None:
    known = service(db, target.ref)
    port = known.port(target.port) if known else None
    return (known, port) if known and port else None


def _members(db: Database, target: Target) -> tuple[Endpoint, ...]:
    if not target.subset:
        return endpoints(db, target.ref, target.port)
    labels = labels_of_subset(db, target.ref, target.seer, target.subset)
    return () if labels is None else in_subset(db, target.ref, target.port, labels)


def _rule_path(db: Database, target: Target) -> str:
    applying = rules(db, target.ref, target.seer)
    if not applying:
        return ""
    return f"/apis/networking.istio.io/v1/namespaces/{applying[0].namespace}/destination-rule/{applying[0].name}"


@query
def black_hole(db: Database) -> Resource | None:
    """Return the cluster that leads nowhere."""
    del db
    return checked(CDS, translate.BLACK_HOLE, translate.black_hole())


@query
def pass_through(db: Database) -> Resource | None:
    """Return the cluster that leads where the connection was going."""
    return checked(CDS, translate.PASSTHROUGH, translate.pass_through(connect_timeout_ms=settings(db).connect_timeout_ms))
