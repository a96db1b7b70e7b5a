"""Who may do what with a workload or a gateway, and whose tokens it believes: what the filters of its chains are made from."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from controlplane.objects.authorization_policy import Rule


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
    rules: tuple[Rule, ...]
    tried: bool = False
    provider: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """The policies that hold for a chain of filters; ``trust_domains`` are the mesh's own and its aliases."""

    policies: tuple[Policy, ...] = ()
    trust_domains: tuple[str, ...] = ()

    @property
    def providers(self) -> tuple[str, ...]:
        """Return the names of the authorizers that CUSTOM policies ask, sorted."""
        return tuple(sorted({each.provider for each in self.policies if each.action is Action.CUSTOM}))


OPEN = Access()  # nobody has said anything
