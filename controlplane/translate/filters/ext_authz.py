"""Who is asked from outside what may be done: AuthorizationPolicies that are CUSTOM."""

from __future__ import annotations

from collections.abc import Iterator

from envoy.extensions.filters.http.rbac.v3.rbac_pb2 import RBAC

from controlplane.translate.filters.base import Chain, HttpFilter
from controlplane.translate.filters.rbac import NAME
from controlplane.translate.rbac.rules import BEFORE_TOKENS, rules_of_provider


def _refused(chain: Chain) -> Iterator[RBAC]:
    """Yield what refuses the requests that nobody can be asked about."""
    for provider in chain.access.providers:
        yield RBAC(rules=rules_of_provider(chain.access, provider, BEFORE_TOKENS))


REFUSED = HttpFilter(NAME, _refused)
