"""From the rules of policies to what Envoy's RBAC filters enforce.

What a chain cannot know never lets anybody in: a rule of ALLOW that asks for it fits nothing, and in rules of the other actions, which take
something away, the condition is left out, so that they fit more.
https://istio.io/latest/docs/reference/config/security/authorization-policy/
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic

from envoy.config.rbac.v3.rbac_pb2 import RBAC, Permission, Principal
from envoy.config.rbac.v3.rbac_pb2 import Policy as Fitting

from controlplane.model.trust_domains import aliased
from controlplane.objects.authorization_policy import Condition, Operation, Rule, Source
from controlplane.translate.access import Access, Action, Policy
from controlplane.translate.rbac import attributes, identities
from controlplane.translate.rbac.attributes import Attribute, M, Needs

Known = frozenset[Needs]
OF_CONNECTIONS: Known = frozenset((Needs.NOTHING,))
BEFORE_TOKENS: Known = frozenset((Needs.NOTHING, Needs.REQUEST))
OF_REQUESTS: Known = frozenset(Needs)


@dataclass(frozen=True, slots=True)
class _Term(Generic[M]):
    """That an attribute has one of ``values``, where there are any, and none of ``others``."""

    attribute: Attribute[M]
    values: Sequence[str]
    others: Sequence[str]


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


@dataclass(frozen=True, slots=True)
class _Terms:
    """What one source or operation asks for, or all of ``when``."""

    clients: tuple[_Term[Principal], ...] = ()
    targets: tuple[_Term[Permission], ...] = ()

    def missing(self, known: Known) -> bool:
        """Return whether something is asked for that is not ``known``."""
        needs = {each.attribute.needs for each in self.clients} | {each.attribute.needs for each in self.targets}
        return not needs <= known


def rules_of(access: Access, action: Action, known: Known, *, tried: bool = False) -> RBAC | None:
    """Return the rules of the policies of ``action`` in ``access``, those that are only ``tried`` or the others; ``None`` without any.

    A policy without rules is something else than no policy: an ALLOW without rules lets nobody in.
    """
    chosen = [each for each in access.policies if each.action is action and each.tried == tried]
    return _rbac(chosen, access.trust_domains, known) if chosen else None


def rules_of_provider(access: Access, provider: str, known: Known) -> RBAC:
    """Return the rules of the CUSTOM policies in ``access`` that ask ``provider``."""
    chosen = [each for each in access.policies if each.action is Action.CUSTOM and each.provider == provider]
    return _rbac(chosen, access.trust_domains, known)


def _rbac(policies: Sequence[Policy], trust_domains: tuple[str, ...], known: Known) -> RBAC:
    found: dict[str, Fitting] = {}
    for each in policies:
        for at, rule in enumerate(each.rules):
            if (fitting := _fitting(each, rule, trust_domains, known)) is not None:
                found[f"ns[{each.namespace}]-policy[{each.name}]-rule[{at}]"] = fitting
    return RBAC(action=_action(policies[0].action), policies=found)


def _action(action: Action) -> RBAC.Action:
    match action:
        case Action.ALLOW:
            return RBAC.ALLOW
        case Action.AUDIT:
            return RBAC.LOG
        case Action.DENY | Action.CUSTOM:
            return RBAC.DENY


def _fitting(policy: Policy, rule: Rule, trust_domains: tuple[str, ...], known: Known) -> Fitting | None:
    """Return the requests that fit ``rule`` of ``policy``; ``None`` where none can."""
    sources = [_of_source(each.source or Source(), policy.namespace, trust_domains) for each in rule.from_] or [_Terms()]
    operations = [_of_operation(each.operation or Operation()) for each in rule.to] or [_Terms()]
    when = _of_conditions(rule.when, policy.namespace, trust_domains)
    lets_in = policy.action is Action.ALLOW
    if lets_in and any(each.missing(known) for each in (*sources, *operations, when)):
        return None
    principals = [_clients((*each.clients, *when.clients), known, named=lets_in) for each in sources]
    permissions = [_all(list(_asked((*each.targets, *when.targets), known, PERMISSIONS)), PERMISSIONS) for each in operations]
    return Fitting(permissions=permissions, principals=principals)


def _clients(terms: Sequence[_Term[Principal]], known: Known, *, named: bool) -> Principal:
    """Return who fits ``terms``.

    ``named``: who is not to be somebody has to be somebody, so that a negation does not let those in who have shown no certificate.
    """
    found = list(_asked(terms, known, PRINCIPALS))
    of_peers = [each for each in terms if each.attribute.peer]
    if named and of_peers and not any(each.values for each in of_peers):
        found.insert(0, identities.anybody())
    return _all(found, PRINCIPALS)


def _of_source(source: Source, namespace: str, trust_domains: tuple[str, ...]) -> _Terms:
    terms = (
        _Term(attributes.PRINCIPAL, aliased(source.principals, trust_domains), aliased(source.not_principals, trust_domains)),
        _Term(attributes.REQUEST_PRINCIPAL, source.request_principals, source.not_request_principals),
        _Term(attributes.NAMESPACE, source.namespaces, source.not_namespaces),
        _Term(attributes.ACCOUNT, _accounts(source.service_accounts, namespace), _accounts(source.not_service_accounts, namespace)),
        _Term(attributes.TRUST_DOMAIN, source.trust_domains, source.not_trust_domains),
        _Term(attributes.PEER_IP, source.ip_blocks, source.not_ip_blocks),
        _Term(attributes.CLIENT_IP, source.remote_ip_blocks, source.not_remote_ip_blocks),
    )
    return _Terms(clients=tuple(each for each in terms if each.values or each.others))


def _of_operation(operation: Operation) -> _Terms:
    terms = (
        _Term(attributes.HOST, operation.hosts, operation.not_hosts),
        _Term(attributes.METHOD, operation.methods, operation.not_methods),
        _Term(attributes.PATH, operation.paths, operation.not_paths),
        _Term(attributes.PORT, operation.ports, operation.not_ports),
    )
    return _Terms(targets=tuple(each for each in terms if each.values or each.others))


def _of_conditions(conditions: Iterable[Condition], namespace: str, trust_domains: tuple[str, ...]) -> _Terms:
    clients: list[_Term[Principal]] = []
    targets: list[_Term[Permission]] = []
    for each in conditions:
        client = attributes.of_client(each.key)
        if client is None:
            targets.append(_Term(attributes.of_target(each.key), each.values, each.not_values))
        elif client is attributes.PRINCIPAL:
            clients.append(_Term(client, aliased(each.values, trust_domains), aliased(each.not_values, trust_domains)))
        elif client is attributes.ACCOUNT:
            clients.append(_Term(client, _accounts(each.values, namespace), _accounts(each.not_values, namespace)))
        else:
            clients.append(_Term(client, each.values, each.not_values))
    return _Terms(tuple(clients), tuple(targets))


def _accounts(given: Iterable[str], namespace: str) -> tuple[str, ...]:
    return tuple(each if "/" in each else f"{namespace}/{each}" for each in given)


def _asked(terms: Iterable[_Term[M]], known: Known, logic: _Logic[M]) -> Iterator[M]:
    """Yield what ``terms`` ask for, as far as it is ``known``."""
    for each in terms:
        if each.attribute.needs not in known:
            continue
        if each.values:
            yield _any([each.attribute.of(value) for value in each.values], logic)
        if each.others:
            yield logic.other(_any([each.attribute.of(value) for value in each.others], logic))


def _any(found: Sequence[M], logic: _Logic[M]) -> M:
    return found[0] if len(found) == 1 else logic.either(found)


def _all(found: Sequence[M], logic: _Logic[M]) -> M:
    if not found:
        return logic.everything()
    return found[0] if len(found) == 1 else logic.both(found)
