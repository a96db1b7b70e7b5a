"""What connections pass before they are sent on whole: the filters of chains that know no requests."""

from __future__ import annotations

from collections.abc import Iterator

from envoy.config.listener.v3.listener_components_pb2 import Filter
from envoy.extensions.filters.network.rbac.v3.rbac_pb2 import RBAC

from controlplane.envoy.packing import pack
from controlplane.translate.access import Access
from controlplane.translate.filters.rbac import ORDER, tried_prefix
from controlplane.translate.rbac.rules import OF_CONNECTIONS, rules_of, rules_of_provider

RBAC_NAME = "envoy.filters.network.rbac"
_STAT_PREFIX = "tcp."


def network_filters(access: Access) -> list[Filter]:
    """Return what connections have to pass where ``access`` holds."""
    return [Filter(name=RBAC_NAME, typed_config=pack(each)) for each in _authorization(access)]


def _authorization(access: Access) -> Iterator[RBAC]:
    for provider in access.providers:
        yield RBAC(rules=rules_of_provider(access, provider, OF_CONNECTIONS), stat_prefix=_STAT_PREFIX)
    for action in ORDER:
        enforced = rules_of(access, action, OF_CONNECTIONS)
        tried = rules_of(access, action, OF_CONNECTIONS, tried=True)
        if enforced is not None or tried is not None:
            prefix = "" if tried is None else tried_prefix(action)
            yield RBAC(rules=enforced, shadow_rules=tried, shadow_rules_stat_prefix=prefix, stat_prefix=_STAT_PREFIX)
