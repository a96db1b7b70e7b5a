"""What is wrong between the DestinationRules of one host: of what two of them say, the older one's counts. Both are told."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field

from controlplane.incremental.database import Database, query
from controlplane.mesh.destinations.destination_rules import (
    DestinationRuleHead,
    destination_rule,
    destination_rules_for,
    merges,
    tls_settings,
)
from controlplane.mesh.facets import qualified_host
from controlplane.mesh.problems.precedence import listed, why_first
from controlplane.mesh.problems.subsets import empty_subsets
from controlplane.mesh.registry.services import find_service, service, services_named
from controlplane.model.keys import Key
from controlplane.model.problems import Problem, Severity
from controlplane.objects.networking.destination_rule import DestinationRule

_MAX_AUDIENCES = 20  # of the rules for one host: with more, conflicts between them are not looked for
_OTHERWISE = "settings, exported otherwise,"
_Field = tuple[Key, str]  # a field of a rule


@dataclass
class _Audience:
    """The rules that are for the same clients: the oldest, and which says a traffic policy, and each subset, first."""

    oldest: DestinationRuleHead
    policy: Key | None = None
    subsets: dict[str, Key] = field(default_factory=dict)


def destination_rule_problems(db: Database, rule: DestinationRule) -> Iterator[Problem]:
    """Yield what is wrong between ``rule`` and other objects."""
    namespace = rule.key.namespace
    host = qualified_host(rule.spec.host, namespace)
    found = find_service(db, host, namespace)
    mesh_service = service(db, found) if found else None
    yield from _unnamed_servers(rule, mesh_service.identities if mesh_service else ())
    if found and found.host != host and services_named(db, host, namespace):
        message = f"{host} is another name of {found.host}: rules for that one apply, this one does not"
        yield Problem(rule.key, "spec.host", Severity.WARNING, "Ineffective", message)
    if not host.startswith("*") and found is None:
        message = f"no service {host} is known: this rule applies to nothing"
        yield Problem(rule.key, "spec.host", Severity.WARNING, "UnknownHost", message)
    if found:
        yield from empty_subsets(db, rule, found)
    for path, message in rule_conflicts(db, host, namespace).get(rule.key, ()):
        yield Problem(rule.key, path, Severity.WARNING, "Conflict", message)


@query
def rule_conflicts(db: Database, host: str, namespace: str) -> Mapping[Key, tuple[tuple[str, str], ...]]:
    """Return what is told of the DestinationRules of ``namespace`` for ``host`` itself that say the same thing: fields and messages."""
    audiences: dict[object, _Audience] = {}
    created: dict[Key, str] = {}
    lost: dict[_Field, tuple[Key, str]] = {}  # who has it instead, and what it is
    for head in _heads(db, host, namespace):
        rule = destination_rule(db, head.key)
        if rule is None:
            continue
        created[head.key] = head.created
        for older in list(audiences.values())[:_MAX_AUDIENCES]:
            for path, winner, what in _taken(older, head, rule):
                lost.setdefault((head.key, path), (winner, what))
        audience = audiences.setdefault((head.selector, head.export_to), _Audience(head))
        audience.policy = audience.policy or (head.key if rule.spec.traffic_policy else None)
        for subset in rule.spec.subsets:
            audience.subsets.setdefault(subset.name, head.key)
    return {key: tuple(messages) for key, messages in _messages(host, lost, created).items()}


def _heads(db: Database, host: str, namespace: str) -> Iterator[DestinationRuleHead]:
    """Yield the rules of ``namespace`` for ``host`` itself, oldest first."""
    for heads in destination_rules_for(db, host):
        for head in heads:
            rule = destination_rule(db, head.key) if head.key.namespace == namespace else None
            if rule and qualified_host(rule.spec.host, namespace) == host:
                yield head


def _taken(older: _Audience, head: DestinationRuleHead, rule: DestinationRule) -> Iterator[tuple[str, Key, str]]:
    """Yield which fields of ``rule`` are not used, who has them instead, and what they are."""
    if not merges(older.oldest, head):
        if older.oldest.selector == head.selector:
            yield "spec.exportTo", older.oldest.key, _OTHERWISE
        return
    if rule.spec.traffic_policy and older.policy:
        yield "spec.trafficPolicy", older.policy, "the traffic policy"
    for subset in rule.spec.subsets:
        if subset.name in older.subsets:
            yield "spec.subsets", older.subsets[subset.name], f"subset {subset.name}"


def _messages(host: str, lost: Mapping[_Field, tuple[Key, str]], created: Mapping[Key, str]) -> Mapping[Key, list[tuple[str, str]]]:
    """Return what is told of each rule that has ``lost`` something, and of those that have it instead."""
    messages: dict[Key, list[tuple[str, str]]] = defaultdict(list)
    losers: dict[_Field, list[Key]] = defaultdict(list)
    for (key, path), (winner, what) in lost.items():
        reason = why_first(created[winner], created[key])
        effect = "who sees both goes by that one alone" if what == _OTHERWISE else "this one is not used"
        messages[key].append((path, f"{winner}, {reason}, has {what} for {host} too: {effect}"))
        losers[winner, path].append(key)
    for (winner, path), keys in losers.items():
        what, effect = (_OTHERWISE, "who sees both goes by this one alone") if path == "spec.exportTo" else ("the same", "this one is used")
        messages[winner].append((path, f"{listed(keys)} has {what} for {host} too: {effect}"))
    return messages


def _unnamed_servers(rule: DestinationRule, identities: Collection[str]) -> Iterator[Problem]:
    """Yield where ``rule`` begins TLS and no name is verified; ``identities`` are the names that the service itself gives."""
    for path, tls in tls_settings(rule):
        named = tls.subject_alt_names or identities or not tls.sni  # without sni the host of the request is verified
        if tls.mode in ("SIMPLE", "MUTUAL") and not tls.insecure_skip_verify and not named:
            message = "without subjectAltNames, beside sni, a certificate of any name is accepted"
            yield Problem(rule.key, f"{path}.sni", Severity.WARNING, "NotVerified", message)
