"""What a rule asks for, attribute by attribute: the fields of sources and operations, and the conditions of ``when``, are alike.

https://istio.io/latest/docs/reference/config/security/authorization-policy/
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, NamedTuple

from envoy.config.rbac.v3.rbac_pb2 import Permission, Principal

from controlplane.objects.security.authorization_policy import (
    AuthorizationCondition,
    AuthorizationOperation,
    AuthorizationRule,
    AuthorizationSource,
)
from controlplane.translate.rbac import attributes
from controlplane.translate.rbac.attributes import Attribute, M, Needs
from controlplane.translate.rbac.identities import Around


@dataclass(frozen=True, slots=True)
class Term(Generic[M]):
    """That an attribute has one of ``values``, where there are any, and none of ``others``."""

    attribute: Attribute[M]
    values: Sequence[str]
    others: Sequence[str]

    def fitting(self, values: Sequence[str], around: Around) -> list[M]:
        """Return the conditions one of which holds where the attribute has one of ``values``."""
        return [found for value in values for found in self.attribute.of(value, around)]


@dataclass(frozen=True, slots=True)
class Terms:
    """What one source or operation asks for, or all of ``when``."""

    clients: tuple[Term[Principal], ...] = ()
    targets: tuple[Term[Permission], ...] = ()


class Asked(NamedTuple):
    """What a rule asks for: one of ``sources``, one of ``operations``, and ``when``."""

    sources: list[Terms]
    operations: list[Terms]
    when: Terms

    @property
    def all(self) -> tuple[Terms, ...]:
        """Return everything that is asked for."""
        return (*self.sources, *self.operations, self.when)

    @property
    def needs(self) -> frozenset[Needs]:
        """Return what has to be known for that."""
        of_clients = (each.attribute.needs for terms in self.all for each in terms.clients)
        return frozenset(of_clients).union(each.attribute.needs for terms in self.all for each in terms.targets)

    @property
    def names_peers(self) -> bool:
        """Return whether it is asked for a peer that has an identity."""
        return any(each.attribute.peer and each.values for terms in self.all for each in terms.clients)


def asked_by(rule: AuthorizationRule) -> Asked:
    """Return what ``rule`` asks for."""
    sources = [_of_source(each.source or AuthorizationSource()) for each in rule.from_]
    operations = [_of_operation(each.operation or AuthorizationOperation()) for each in rule.to]
    return Asked(sources or [Terms()], operations or [Terms()], _of_conditions(rule.when))


def _of_source(source: AuthorizationSource) -> Terms:
    terms = (
        Term(attributes.PRINCIPAL, source.principals, source.not_principals),
        Term(attributes.REQUEST_PRINCIPAL, source.request_principals, source.not_request_principals),
        Term(attributes.NAMESPACE, source.namespaces, source.not_namespaces),
        Term(attributes.ACCOUNT, source.service_accounts, source.not_service_accounts),
        Term(attributes.TRUST_DOMAIN, source.trust_domains, source.not_trust_domains),
        Term(attributes.PEER_IP, source.ip_blocks, source.not_ip_blocks),
        Term(attributes.CLIENT_IP, source.remote_ip_blocks, source.not_remote_ip_blocks),
    )
    return Terms(clients=tuple(each for each in terms if each.values or each.others))


def _of_operation(operation: AuthorizationOperation) -> Terms:
    terms = (
        Term(attributes.HOST, operation.hosts, operation.not_hosts),
        Term(attributes.METHOD, operation.methods, operation.not_methods),
        Term(attributes.PATH, operation.paths, operation.not_paths),
        Term(attributes.PORT, operation.ports, operation.not_ports),
    )
    return Terms(targets=tuple(each for each in terms if each.values or each.others))


def _of_conditions(conditions: Iterable[AuthorizationCondition]) -> Terms:
    clients: list[Term[Principal]] = []
    targets: list[Term[Permission]] = []
    for each in conditions:
        if (client := attributes.of_client(each.key)) is not None:
            clients.append(Term(client, each.values, each.not_values))
        else:
            targets.append(Term(attributes.of_target(each.key), each.values, each.not_values))
    return Terms(tuple(clients), tuple(targets))
