"""What is wrong between the DestinationRules of one host: of what two of them say, the older one's counts."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

from controlplane.incremental.database import Database
from controlplane.mesh.destinations.destination_rules import destination_rule, destination_rule_head, destination_rules_for, merges
from controlplane.mesh.inputs import qualified_host
from controlplane.mesh.registry.services import find_service, services_named
from controlplane.model.problems import Problem, Severity
from controlplane.objects.networking.destination_rule import DestinationRule

_WARNING = Severity.WARNING


def destination_rule_problems(db: Database, rule: DestinationRule) -> Iterator[Problem]:
    """Yield what is wrong between ``rule`` and other objects."""
    host = qualified_host(rule.spec.host, rule.key.namespace)
    found = find_service(db, host, rule.key.namespace)
    if found and found.host != host and services_named(db, host, rule.key.namespace):
        message = f"{host} is another name of {found.host}: rules for that one apply, this one does not"
        yield Problem(rule.key, "spec.host", _WARNING, "Ineffective", message)
    if not host.startswith("*") and found is None:
        yield Problem(rule.key, "spec.host", _WARNING, "UnknownHost", f"no service {host} is known: this rule applies to nothing")
    by_field: dict[str, Problem] = {}  # one is enough, however many older rules there are
    for problem in _conflicts(db, rule, host):
        by_field.setdefault(problem.field, problem)
    yield from by_field.values()


def _conflicts(db: Database, rule: DestinationRule, host: str) -> Iterator[Problem]:
    """Yield what of ``rule`` is not used, as an older rule for ``host`` stands before it."""
    head = destination_rule_head(db, rule.key)
    for older_head in chain.from_iterable(destination_rules_for(db, host)):
        older = destination_rule(db, older_head.key)
        if head is None or older is None or (older_head.created, older_head.key) >= (head.created, head.key):
            continue
        if older_head.key.namespace != rule.key.namespace or qualified_host(older.spec.host, rule.key.namespace) != host:
            continue
        if merges(older_head, head):
            yield from _unused(rule, older, host)
        elif older_head.selector == head.selector:
            message = f"{older.key}, which is older, is about {host} too and exported otherwise: who sees both goes by that one alone"
            yield Problem(rule.key, "spec.exportTo", _WARNING, "Conflict", message)


def _unused(rule: DestinationRule, older: DestinationRule, host: str) -> Iterator[Problem]:
    """Yield what of ``rule`` is not used, as ``older`` says it of ``host`` already."""
    if rule.spec.traffic_policy and older.spec.traffic_policy:
        message = f"{older.key}, which is older, has the traffic policy of {host}: this one is not used"
        yield Problem(rule.key, "spec.trafficPolicy", _WARNING, "Conflict", message)
    shared = {subset.name for subset in rule.spec.subsets} & {subset.name for subset in older.spec.subsets}
    if shared:
        message = f"{older.key}, which is older, names subset {', '.join(sorted(shared))} of {host} too"
        yield Problem(rule.key, "spec.subsets", _WARNING, "Conflict", message)
