"""What a rule asks for, attribute by attribute: of whoever asks, and of what is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, NamedTuple

from envoy.config.rbac.v3.rbac_pb2 import Permission, Principal

from controlplane.ir.access import AccessRule, AccessTerms
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
        return [condition for value in values for condition in self.attribute.of(value, around)]


@dataclass(frozen=True, slots=True)
class Terms:
    """What one source or operation asks for, or all of ``when``."""

    clients: tuple[Term[Principal], ...] = ()
    targets: tuple[Term[Permission], ...] = ()


class RuleTerms(NamedTuple):
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
        of_clients = (term.attribute.needs for terms in self.all for term in terms.clients)
        return frozenset(of_clients).union(term.attribute.needs for terms in self.all for term in terms.targets)

    @property
    def names_peers(self) -> bool:
        """Return whether it is asked for a peer that has an identity."""
        return any(term.attribute.peer and term.values for terms in self.all for term in terms.clients)


def terms_of(rule: AccessRule) -> RuleTerms:
    """Return what ``rule`` asks for."""
    sources = [_divided(terms) for terms in rule.sources]
    operations = [_divided(terms) for terms in rule.operations]
    return RuleTerms(sources or [Terms()], operations or [Terms()], _divided(rule.when))


def _divided(terms: AccessTerms) -> Terms:
    """Return ``terms`` by whom they are about: Envoy asks for the one and the other in different messages."""
    clients: list[Term[Principal]] = []
    targets: list[Term[Permission]] = []
    for term in terms:
        if (client := attributes.of_client(term.attribute)) is not None:
            clients.append(Term(client, term.values, term.others))
        else:
            targets.append(Term(attributes.of_target(term.attribute), term.values, term.others))
    return Terms(tuple(clients), tuple(targets))
