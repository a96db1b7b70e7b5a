"""Who may do what with a workload or a gateway, and whose tokens it believes: what the filters of its chains are made from."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from controlplane.model.mesh import PathNormalization
from controlplane.objects.mesh.extension_providers import GrpcAuthorizer, HttpAuthorizer
from controlplane.objects.security.authorization_policy import AuthorizationRule
from controlplane.objects.security.request_authentication import JWTRule


class Action(StrEnum):
    """What becomes of requests that fit a policy."""

    ALLOW = "ALLOW"
    DENY = "DENY"
    AUDIT = "AUDIT"
    CUSTOM = "CUSTOM"


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """One AuthorizationPolicy. ``tried``: it is not enforced, only counted what it would have done."""

    namespace: str
    name: str
    action: Action
    rules: tuple[AuthorizationRule, ...]
    tried: bool = False
    provider: str = ""


@dataclass(frozen=True, slots=True)
class Issuer:
    """Somebody whose tokens are believed, as a RequestAuthentication says; ``keys`` is his key set, ``None`` while there is none."""

    rule: JWTRule
    keys: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """An authorizer, by its ``name`` in the mesh's settings, and the ``cluster`` that leads to its ``host``."""

    name: str
    host: str
    cluster: str
    authorizer: HttpAuthorizer | GrpcAuthorizer


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """The policies that hold for a chain of filters; ``trust_domains`` are the mesh's own and its aliases.

    What they say of paths is compared with those of requests once these are normalised by ``paths``.
    """

    policies: tuple[Policy, ...] = ()
    issuers: tuple[Issuer, ...] = ()
    authorizers: tuple[Asked, ...] = ()  # those that there are, of the ones that policies name
    trust_domains: tuple[str, ...] = ()
    paths: PathNormalization = PathNormalization.BASE

    @property
    def providers(self) -> tuple[str, ...]:
        """Return the names of the authorizers that CUSTOM policies ask, sorted."""
        return tuple(sorted({each.provider for each in self.policies if each.action is Action.CUSTOM}))

    def asked(self, provider: str) -> Asked | None:
        """Return the authorizer ``provider``, if there is one."""
        return next((each for each in self.authorizers if each.name == provider), None)


OPEN = Access()  # nobody has said anything
