"""The traffic policy that the DestinationRules of a service make for a port and a subset."""

from __future__ import annotations

from collections.abc import Iterator

from controlplane.incremental.database import Database, query
from controlplane.ir.actions import AddressHash
from controlplane.ir.clusters import NO_POLICY, ClusterPolicy, ConsistentHash
from controlplane.ir.listeners import TcpLimits
from controlplane.mesh.destinations.destination_rules import RuleClient, applicable_rules, destination_rules
from controlplane.mesh.destinations.istio_cluster_policy import cluster_policy
from controlplane.mesh.registry.services import ServiceRef
from controlplane.objects.networking.destination_rule import DestinationRule, PortTrafficPolicy, TrafficPolicy

_OF_PORTS = tuple(name for name in PortTrafficPolicy.model_fields if name in TrafficPolicy.model_fields)
_OF_SUBSETS = tuple(name for name in TrafficPolicy.model_fields if name != "port_level_settings")


@query
def traffic_policy(db: Database, ref: ServiceRef, client: RuleClient, port: int, subset: str) -> ClusterPolicy:
    """Return the policy of ``client`` for ``port`` of ``ref``: the rules', its port's settings in its place, the subset's over these."""
    rules = destination_rules(db, applicable_rules(db, ref, client))
    if not rules:
        return NO_POLICY
    general = next((rule.spec.traffic_policy for rule in rules if rule.spec.traffic_policy), None)
    policy = _for_port(general or TrafficPolicy(), general, port)
    if subset:
        own = next(_policies_of_subset(rules, subset), None)
        policy = _for_port(_over(policy, own), own, port)
    return cluster_policy(policy) if policy != TrafficPolicy() else NO_POLICY


def tcp_limits(db: Database, ref: ServiceRef, client: RuleClient, port: int, subset: str) -> TcpLimits:
    """Return what is held to on connections that proxies of ``client`` send on whole to ``port`` of ``ref``."""
    policy = traffic_policy(db, ref, client, port, subset)
    balancing = policy.load_balancing
    return TcpLimits(
        idle_timeout_ms=policy.pool.tcp_idle_timeout_ms,
        max_duration_ms=policy.pool.max_connection_duration_ms,
        hash_by_source=isinstance(balancing, ConsistentHash) and isinstance(balancing.key, AddressHash),
    )


def _policies_of_subset(rules: tuple[DestinationRule, ...], name: str) -> Iterator[TrafficPolicy | None]:
    return (subset.traffic_policy for rule in rules for subset in rule.spec.subsets if subset.name == name)


def _over(policy: TrafficPolicy, own: TrafficPolicy | None) -> TrafficPolicy:
    """Return ``policy`` with the settings of a subset's ``own``, each in the place of its."""
    settings = {name: setting for name in _OF_SUBSETS if own and (setting := getattr(own, name)) is not None}
    return policy.model_copy(update=settings)


def _for_port(policy: TrafficPolicy, written: TrafficPolicy | None, port: int) -> TrafficPolicy:
    """Return ``policy`` for ``port``: the settings that ``written`` has for it stand alone, and nothing is left of the others."""
    listed = written.port_level_settings if written else ()
    of_port = next((settings for settings in listed if settings.port and settings.port.number == port), None)
    settings = {name: getattr(of_port, name) for name in _OF_PORTS} if of_port else {}
    return policy.model_copy(update={"port_level_settings": (), **settings})


def hash_policy(db: Database, ref: ServiceRef, client: RuleClient, port: int, subset: str) -> ConsistentHash | None:
    """Return what requests of ``client`` to ``port`` of ``ref`` are hashed by, where its load balancer is a consistent hash."""
    balancing = traffic_policy(db, ref, client, port, subset).load_balancing
    return balancing if isinstance(balancing, ConsistentHash) else None
