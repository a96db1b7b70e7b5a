"""From the rules of policies to what Envoy's RBAC filters enforce.

What a chain cannot know, or is asked by a field that nobody knows, never lets anybody in: a rule of ALLOW that asks for it fits nothing,
and in rules of the other actions, which take something away, the condition is left out, so that they fit more.
https://istio.io/latest/docs/reference/config/security/authorization-policy/
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic

from envoy.config.rbac.v3.rbac_pb2 import RBAC, Permission, Principal
from envoy.config.rbac.v3.rbac_pb2 import Policy as Fitting

from controlplane.ir.access import AccessPolicy, AccessRule, ChainAccess, PolicyAction
from controlplane.translate.rbac import identities
from controlplane.translate.rbac.attributes import M, Needs
from controlplane.translate.rbac.identities import Around
from controlplane.translate.rbac.terms import Term, terms_of

Known = frozenset[Needs]
OF_CONNECTIONS: Known = frozenset((Needs.NOTHING,))
BEFORE_TOKENS: Known = frozenset((Needs.NOTHING, Needs.REQUEST))
OF_REQUESTS: Known = frozenset(Needs)


@dataclass(frozen=True, slots=True)
class _Logic(Generic[M]):
    """How conditions are put together."""

    everything: Callable[[], M]
    either: Callable[[Sequence[M]], M]
    both: Callable[[Sequence[M]], M]
    other: Callable[[M], M]


PRINCIPALS = _Logic(
    everything=lambda: Principal(any=True),
    either=lambda ids: Principal(or_ids={"ids": ids}),
    both=lambda ids: Principal(and_ids={"ids": ids}),
    other=lambda id_: Principal(not_id=id_),
)
PERMISSIONS = _Logic(
    everything=lambda: Permission(any=True),
    either=lambda rules: Permission(or_rules={"rules": rules}),
    both=lambda rules: Permission(and_rules={"rules": rules}),
    other=lambda rule: Permission(not_rule=rule),
)


def rules_of(access: ChainAccess, action: PolicyAction, known: Known, *, dry_run: bool = False) -> RBAC | None:
    """Return the rules of the policies of ``action`` in ``access``, those of a ``dry_run`` or the others; ``None`` without any.

    A policy without rules is something else than no policy: an ALLOW without rules lets nobody in.
    """
    policies = [policy for policy in access.policies if policy.action is action and policy.dry_run == dry_run]
    return _rbac(policies, access.trust_domains, known) if policies else None


def rules_of_provider(access: ChainAccess, provider: str, known: Known) -> RBAC:
    """Return the rules of the CUSTOM policies in ``access`` that ask ``provider``."""
    policies = [policy for policy in access.policies if policy.action is PolicyAction.CUSTOM and policy.provider == provider]
    return _rbac(policies, access.trust_domains, known)


def _rbac(policies: Sequence[AccessPolicy], trust_domains: tuple[str, ...], known: Known) -> RBAC:
    rules: dict[str, Fitting] = {}
    for policy in policies:
        for index, rule in enumerate(policy.rules):
            if (fitting := _fitting(policy, rule, trust_domains, known)) is not None:
                rules[f"ns[{policy.namespace}]-policy[{policy.name}]-rule[{index}]"] = fitting
    return RBAC(action=_action(policies[0].action), policies=rules)


def _action(action: PolicyAction) -> RBAC.Action:
    match action:
        case PolicyAction.ALLOW:
            return RBAC.ALLOW
        case PolicyAction.AUDIT:
            return RBAC.LOG
        case PolicyAction.DENY | PolicyAction.CUSTOM:
            return RBAC.DENY


def _fitting(policy: AccessPolicy, rule: AccessRule, trust_domains: tuple[str, ...], known: Known) -> Fitting | None:
    """Return the requests that fit ``rule`` of ``policy``; ``None`` where none can."""
    terms, around = terms_of(rule), Around(policy.namespace, trust_domains)
    lets_in = policy.action is PolicyAction.ALLOW
    if lets_in and not (rule.understood and terms.needs <= known):
        return None
    principals = [_clients((*source.clients, *terms.when.clients), known, around, named=lets_in) for source in terms.sources]
    permissions = [_targets((*operation.targets, *terms.when.targets), known, around) for operation in terms.operations]
    return Fitting(permissions=permissions, principals=principals)


def _targets(terms: Sequence[Term[Permission]], known: Known, around: Around) -> Permission:
    return _all(list(_conditions(terms, known, around, PERMISSIONS)), PERMISSIONS)


def _clients(terms: Sequence[Term[Principal]], known: Known, around: Around, *, named: bool) -> Principal:
    """Return who fits ``terms``.

    ``named``: who is not to be somebody has to be somebody, so that a negation does not let those in who have shown no certificate.
    """
    conditions = list(_conditions(terms, known, around, PRINCIPALS))
    peer_terms = [term for term in terms if term.attribute.peer]
    if named and peer_terms and not any(term.values for term in peer_terms):
        conditions.insert(0, identities.anybody())
    return _all(conditions, PRINCIPALS)


def _conditions(terms: Iterable[Term[M]], known: Known, around: Around, logic: _Logic[M]) -> Iterator[M]:
    """Yield what ``terms`` ask for, as far as it is ``known``."""
    for term in terms:
        if term.attribute.needs not in known:
            continue
        if term.values:
            yield _any(term.fitting(term.values, around), logic)
        if term.others:
            yield logic.other(_any(term.fitting(term.others, around), logic))


def _any(conditions: Sequence[M], logic: _Logic[M]) -> M:
    return conditions[0] if len(conditions) == 1 else logic.either(conditions)


def _all(conditions: Sequence[M], logic: _Logic[M]) -> M:
    if not conditions:
        return logic.everything()
    return conditions[0] if len(conditions) == 1 else logic.both(conditions)
