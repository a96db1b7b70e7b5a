"""Which DestinationRules apply to a service, for whom, and the subsets that they name."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from controlplane.incremental.database import Database, eager_query, query
from controlplane.mesh.facets import EVERYONE, about_host, by_source_labels, exports_of
from controlplane.mesh.inputs import index, objects
from controlplane.mesh.registry.mesh_settings import mesh_settings
from controlplane.mesh.registry.services import PUBLIC, ServiceRef, host_patterns, is_exported
from controlplane.model.keys import DESTINATION_RULE, Key
from controlplane.model.services import Labels
from controlplane.objects.networking.destination_rule import ClientTLSSettings, DestinationRule, PortTrafficPolicy, TrafficPolicy


class DestinationRuleHead(NamedTuple):
    """What decides whether a DestinationRule applies, without its settings."""

    key: Key
    export_to: tuple[str, ...]
    created: str
    selector: Labels | None  # of the clients in its namespace that it is for; None: it is for all that see it


class RuleClient(NamedTuple):
    """For whom rules are looked up: a namespace, or ``PUBLIC``, and those labels of a proxy there that some workload selector names."""

    namespace: str
    labels: Labels = ()


EVERY_CLIENT = RuleClient(PUBLIC)


class ServiceSubset(NamedTuple):
    """A named part of a service's endpoints, with the DestinationRule that names it."""

    name: str
    labels: Labels
    rule: Key


@eager_query
def destination_rule_head(db: Database, key: Key) -> DestinationRuleHead | None:
    """Return the head of the DestinationRule ``key``."""
    rule = destination_rule(db, key)
    if rule is None:
        return None
    wanted = rule.spec.workload_selector
    selector = tuple(sorted(wanted.match_labels.items())) if wanted is not None else None
    return DestinationRuleHead(key, exports_of(rule), rule.meta.seniority, selector)


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
            if head.selector is not None or namespace not in (ref.key.namespace, root):
                namespaces.add(namespace)
            elif EVERYONE not in head.export_to:
                namespaces.update((namespace, *head.export_to))
    return frozenset(namespaces)


@query
def selected_labels(db: Database, ref: ServiceRef, namespace: str) -> frozenset[tuple[str, str]]:
    """Return the labels, with their values, by which the rules of ``namespace`` for ``ref`` select clients."""
    heads = (head for heads in destination_rules_for(db, ref.host) for head in heads if head.key.namespace == namespace)
    return frozenset(pair for head in heads for pair in head.selector or ())


@query
def selected_label_names(db: Database, ref: ServiceRef) -> frozenset[str]:
    """Return the names of the labels by which rules for ``ref`` select clients, whichever their namespace."""
    return frozenset(name for heads in destination_rules_for(db, ref.host) for head in heads for name, _ in head.selector or ())


@query
def selected_labels_of_namespace(db: Database, namespace: str) -> frozenset[tuple[str, str]]:
    """Return the labels, with their values, by which any rule of ``namespace`` selects clients."""
    keys = (key for key in index(db, by_source_labels(DESTINATION_RULE)) if key.namespace == namespace)
    heads = (destination_rule_head(db, key) for key in keys)
    return frozenset(pair for head in heads if head for pair in head.selector or ())


def rule_client(db: Database, ref: ServiceRef, namespace: str, labels: Labels = ()) -> RuleClient:
    """Return the client by which to look up rules for ``ref`` and a proxy of ``namespace`` with ``labels``.

    It is everyone's where its rules are the public ones.
    """
    if namespace not in rule_audience(db, ref):
        return EVERY_CLIENT
    selected = selected_labels(db, ref, namespace)
    return RuleClient(namespace, tuple(pair for pair in labels if pair in selected))


@query
def applicable_rules(db: Database, ref: ServiceRef, client: RuleClient) -> tuple[Key, ...]:
    """Return the DestinationRules that apply to ``ref`` for ``client``, oldest first: they are read as one.

    They come from the client's namespace, else the service's, else the root namespace; within it from the narrowest host.
    There, those that select the client take the place of those for everyone.
    https://istio.io/latest/docs/reference/config/networking/destination-rule/
    """
    for namespace in dict.fromkeys((client.namespace, ref.key.namespace, mesh_settings(db).root_namespace)):
        for heads in destination_rules_for(db, ref.host):
            of_namespace = [head for head in heads if head.key.namespace == namespace]
            selecting = [head for head in of_namespace if namespace == client.namespace and _selects(head, client)]
            general = [head for head in of_namespace if head.selector is None and _is_exported(head, client)]
            if applicable := selecting or general:
                return tuple(head.key for head in applicable if merges(applicable[0], head))
    return ()


def merges(older: DestinationRuleHead, head: DestinationRuleHead) -> bool:
    """Return whether ``head`` is read as one with ``older``: both are for the same clients, or ``head`` for more of them."""
    return older.selector == head.selector and set(head.export_to) >= set(older.export_to)


@query
def subsets(db: Database, ref: ServiceRef, client: RuleClient) -> tuple[ServiceSubset, ...]:
    """Return the subsets of ``ref`` for ``client``, sorted by name; of two with one name the older rule's wins."""
    by_name: dict[str, ServiceSubset] = {}
    for rule in destination_rules(db, applicable_rules(db, ref, client)):
        for subset in rule.spec.subsets:
            by_name.setdefault(subset.name, ServiceSubset(subset.name, tuple(sorted(subset.labels.items())), rule.key))
    return tuple(by_name[name] for name in sorted(by_name))


@query
def named_subsets(db: Database, ref: ServiceRef, namespace: str) -> frozenset[str]:
    """Return the names of the subsets of ``ref`` that some proxy of ``namespace`` has."""
    heads = (head for heads in destination_rules_for(db, ref.host) for head in heads if head.key.namespace == namespace)
    selectors = {head.selector for head in heads if head.selector}
    clients = [rule_client(db, ref, namespace, labels) for labels in ((), *sorted(selectors))]
    return frozenset(subset.name for client in clients for subset in subsets(db, ref, client))


@query
def subset_labels(db: Database, ref: ServiceRef, client: RuleClient, name: str) -> Labels | None:
    """Return the labels that the endpoints of subset ``name`` have; ``None`` where there is no such subset."""
    return next((subset.labels for subset in subsets(db, ref, client) if subset.name == name), None)


def destination_rule(db: Database, key: Key) -> DestinationRule | None:
    """Return the DestinationRule ``key``."""
    rule = objects(db, key)
    return rule if isinstance(rule, DestinationRule) else None


def destination_rules(db: Database, keys: Iterable[Key]) -> tuple[DestinationRule, ...]:
    """Return the DestinationRules ``keys``, in order."""
    return tuple(rule for key in keys if (rule := destination_rule(db, key)))


def _selects(head: DestinationRuleHead, client: RuleClient) -> bool:
    return head.selector is not None and set(head.selector) <= set(client.labels)


def _is_exported(head: DestinationRuleHead, client: RuleClient) -> bool:
    return EVERYONE in head.export_to or (client.namespace != PUBLIC and is_exported(head.export_to, client.namespace))


def tls_settings(rule: DestinationRule) -> Iterator[tuple[str, ClientTLSSettings]]:
    """Yield the TLS settings of ``rule``, of its subsets and ports too, each with the path of its field."""
    policies = [("spec.trafficPolicy", rule.spec.traffic_policy)]
    policies += [(f"spec.subsets[{index}].trafficPolicy", subset.traffic_policy) for index, subset in enumerate(rule.spec.subsets)]
    for path, policy in policies:
        for at, of_port in _of_policy(path, policy):
            if of_port.tls:
                yield f"{at}.tls", of_port.tls


def _of_policy(path: str, policy: TrafficPolicy | None) -> Iterator[tuple[str, TrafficPolicy | PortTrafficPolicy]]:
    if policy:
        yield path, policy
        yield from ((f"{path}.portLevelSettings[{index}]", each) for index, each in enumerate(policy.port_level_settings))
