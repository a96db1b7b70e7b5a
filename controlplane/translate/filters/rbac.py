"""Who may do what: policies that audit, deny and allow, in this order."""

from __future__ import annotations

from collections.abc import Iterator

from envoy.extensions.filters.http.rbac.v3 import rbac_pb2

from controlplane.ir.access import PolicyAction
from controlplane.translate.filters.base import Chain, HttpFilter
from controlplane.translate.rbac.rules import OF_REQUESTS, rules_of

NAME = "envoy.filters.http.rbac"
ORDER = (PolicyAction.AUDIT, PolicyAction.DENY, PolicyAction.ALLOW)


def shadow_prefix(action: PolicyAction) -> str:
    """Return how the statistics and the metadata of policies of ``action`` begin of a dry run."""
    return f"istio_dry_run_{action.value.lower()}_"


def _of_chain(chain: Chain) -> Iterator[rbac_pb2.RBAC]:
    for action in ORDER:
        enforced = rules_of(chain.access, action, OF_REQUESTS)
        shadow = rules_of(chain.access, action, OF_REQUESTS, dry_run=True)
        if enforced is not None or shadow is not None:
            prefix = "" if shadow is None else shadow_prefix(action)
            yield rbac_pb2.RBAC(rules=enforced, shadow_rules=shadow, shadow_rules_stat_prefix=prefix)


RBAC = HttpFilter(NAME, _of_chain)
