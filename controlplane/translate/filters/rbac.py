"""Who may do what: AuthorizationPolicies that audit, deny and allow, in this order."""

from __future__ import annotations

from collections.abc import Iterator

from envoy.extensions.filters.http.rbac.v3.rbac_pb2 import RBAC

from controlplane.translate.access import Action
from controlplane.translate.filters.base import Chain, HttpFilter
from controlplane.translate.rbac.rules import OF_REQUESTS, rules_of

NAME = "envoy.filters.http.rbac"
ORDER = (Action.AUDIT, Action.DENY, Action.ALLOW)


def tried_prefix(action: Action) -> str:
    """Return how the statistics and the metadata of policies of ``action`` begin that are only tried."""
    return f"istio_dry_run_{action.value.lower()}_"


def _of_chain(chain: Chain) -> Iterator[RBAC]:
    for action in ORDER:
        enforced = rules_of(chain.access, action, OF_REQUESTS)
        tried = rules_of(chain.access, action, OF_REQUESTS, tried=True)
        if enforced is not None or tried is not None:
            prefix = "" if tried is None else tried_prefix(action)
            yield RBAC(rules=enforced, shadow_rules=tried, shadow_rules_stat_prefix=prefix)


AUTHORIZATION = HttpFilter(NAME, _of_chain)
