"""Which DestinationRules apply to a service, and the traffic policy they make for a port and a subset."""

from __future__ import annotations

from collections.abc import Hashable
from typing import NamedTuple

from controlplane.incremental.database import Database, query
from controlplane.ir.actions import AddressHash
from controlplane.ir.clusters import NO_POLICY, ClusterPolicy, ConsistentHash
from controlplane.ir.listeners import TcpLimits
from controlplane.mesh.destinations.istio_cluster_policy import cluster_policy
from controlplane.mesh.inputs import EVERYONE, about_host, exports_of, index, objects
from controlplane.mesh.registry.mesh_settings import mesh_settings
from controlplane.mesh.registry.services import PUBLIC, ServiceRef, host_patterns, is_exported
from controlplane.model.keys import DESTINATION_RULE, Key
from controlplane.model.services import Labels
from controlplane.objects.networking.destination_rule import DestinationRule, TrafficPolicy


class DestinationRuleHead(NamedTuple):
    """What decides whether a DestinationRule applies, without its settings."""

    key: Key
    export_to: tuple[str, ...]
    created: str


class ServiceSubset(NamedTuple):
    """A named part of a service's endpoints, with the DestinationRule that names it."""

    name: str
    labels: Labels
    rule: Key


@query
def destination_rule_head(db: Database, key: Key) -> DestinationRuleHead | None:
    """Return the head of the DestinationRule ``key``."""
    rule = _destination_rule(db, key)
    return DestinationRuleHead(key, exports_of(rule), rule.meta.created) if rule else None


@query
def destination_rules_for(db: Database, host: str) -> tuple[tuple[DestinationRuleHead, ...], ...]:
    """Return every DestinationRule about ``host``, a tuple for each pattern, the narrowest pattern first, each oldest first."""
    by_pattern = []
    for pattern in host_patterns(host):
        heads = [head for key in index(db, about_host(DESTINATION_RULE, pattern)) if (head := destination_rule_head(db, key))]
        if heads:
            by_pattern.append(tuple(sorted(heads, key=lambda head: (head.created, head.key))))
    return tuple(by_pattern)


@query
def rule_audience(db: Database, ref: ServiceRef) -> frozenset[str]:
    """Return the namespaces whose DestinationRules for the service ``ref`` differ from the public ones."""
    root = mesh_settings(db).root_namespace
    namespaces = set()
    for heads in destination_rules_for(db, ref.host):
        for head in heads:
            namespace = head.key.namespace
            if namespace not in (ref.key.namespace, root):
                namespaces.add(namespace)
            elif EVERYONE not in head.export_to:
                namespaces.update((namespace, *head.export_to))
    return frozenset(namespaces)


def client_namespace_for_rules(db: Database, ref: ServiceRef, namespace: str) -> str:
    """Return the client namespace by which to look up rules for ``namespace``: ``PUBLIC`` where its rules are the public ones."""
    return namespace if namespace in rule_audience(db, ref) else PUBLIC


@query
def applicable_rules(db: Database, ref: ServiceRef, client_namespace: str) -> tuple[Key, ...]:
    """Return the DestinationRules that apply to ``ref`` for ``client_namespace``: the first one's policy, everyone's subsets.

    They come from the client's namespace, else the service's, else the root namespace; within it from the narrowest host.
    https://istio.io/latest/docs/reference/config/networking/destination-rule/
    """
    for namespace in dict.fromkeys((client_namespace, ref.key.namespace, mesh_settings(db).root_namespace)):
        for heads in destination_rules_for(db, ref.host):
            applicable = tuple(head.key for head in heads if head.key.namespace == namespace and _applies(head, client_namespace))
            if applicable:
                return applicable
    return ()


@query
def subsets(db: Database, ref: ServiceRef, client_namespace: str) -> tuple[ServiceSubset, ...]:
    """Return the subsets of ``ref`` for ``client_namespace``, sorted by name; of two with one name the older rule's wins."""
    by_name: dict[str, ServiceSubset] = {}
    for key in applicable_rules(db, ref, client_namespace):
        rule = _destination_rule(db, key)
        for subset in rule.spec.subsets if rule else ():
            by_name.setdefault(subset.name, ServiceSubset(subset.name, tuple(sorted(subset.labels.items())), key))
    return tuple(by_name[name] for name in sorted(by_name))


@query
def subset_labels(db: Database, ref: ServiceRef, client_namespace: str, name: str) -> Labels | None:
    """Return the labels that the endpoints of subset ``name`` have; ``None`` where there is no such subset."""
    return next((subset.labels for subset in subsets(db, ref, client_namespace) if subset.name == name), None)


@query
def traffic_policy(db: Database, ref: ServiceRef, client_namespace: str, port: int, subset: str) -> ClusterPolicy:
    """Return the policy for ``port`` of ``ref``: the rule's, its port's settings in its place, the subset's over these."""
    policy = _traffic_policy(db, ref, client_namespace, port, subset)
    return cluster_policy(policy) if policy else NO_POLICY


def tcp_limits(db: Database, ref: ServiceRef, namespace: str, port: int, subset: str) -> TcpLimits:
    """Return what is held to on connections that proxies of ``namespace`` send on whole to ``port`` of ``ref``."""
    policy = traffic_policy(db, ref, client_namespace_for_rules(db, ref, namespace), port, subset)
    return TcpLimits(
        idle_timeout_ms=policy.pool.tcp_idle_timeout_ms,
        max_duration_ms=policy.pool.max_connection_duration_ms,
        hash_by_source=isinstance(policy.load_balancing, ConsistentHash) and isinstance(policy.load_balancing.key, AddressHash),
    )


def _traffic_policy(db: Database, ref: ServiceRef, client_namespace: str, port: int, subset: str) -> TrafficPolicy | None:
    """Return the policy as it is written.

    A port's settings replace the rule's top-level ones, they are not merged with them; a subset's override field by field.
    """
    policy: TrafficPolicy | None = None
    rules = applicable_rules(db, ref, client_namespace)
    if rules and (rule := _destination_rule(db, rules[0])):
        policy = _for_port(rule.spec.traffic_policy, port)
    if not subset:
        return policy
    for key in rules:
        rule = _destination_rule(db, key)
        for rule_subset in rule.spec.subsets if rule else ():
            if rule_subset.name == subset:
                return _merged(_for_port(rule_subset.traffic_policy, port), policy)
    return policy


def _destination_rule(db: Database, key: Key) -> DestinationRule | None:
    rule = objects(db, key)
    return rule if isinstance(rule, DestinationRule) else None


def _applies(head: DestinationRuleHead, client_namespace: str) -> bool:
    return EVERYONE in head.export_to or (client_namespace != PUBLIC and is_exported(head.export_to, client_namespace))


def _for_port(policy: TrafficPolicy | None, port: int) -> TrafficPolicy | None:
    if policy is None:
        return None
    for port_settings in policy.port_level_settings:
        if port_settings.port is not None and port_settings.port.number == port:
            fields_set = {
                name: getattr(port_settings, name) for name in port_settings.model_fields_set if name in TrafficPolicy.model_fields
            }
            return TrafficPolicy().model_copy(update=fields_set)
    return policy.model_copy(update={"port_level_settings": ()})


def _merged(upper: TrafficPolicy | None, lower: TrafficPolicy | None) -> TrafficPolicy | None:
    if upper is None or lower is None:
        return upper or lower
    fields_set: dict[str, Hashable] = {name: getattr(upper, name) for name in upper.model_fields_set if name != "port_level_settings"}
    return lower.model_copy(update=fields_set)
