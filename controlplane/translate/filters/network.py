"""What connections pass before they are sent on whole: the filters of chains that know no requests."""

from __future__ import annotations

from collections.abc import Iterator

from envoy.config.listener.v3.listener_components_pb2 import Filter
from envoy.extensions.filters.network.ext_authz.v3.ext_authz_pb2 import ExtAuthz
from envoy.extensions.filters.network.rbac.v3.rbac_pb2 import RBAC

from controlplane.envoy.packing import pack
from controlplane.objects.mesh.extension_providers import GrpcAuthorizer
from controlplane.translate.access import Access, Asked
from controlplane.translate.filters.ext_authz import grpc_service, marked, marks_prefix
from controlplane.translate.filters.rbac import ORDER, tried_prefix
from controlplane.translate.rbac.rules import OF_CONNECTIONS, rules_of, rules_of_provider

RBAC_NAME = "envoy.filters.network.rbac"
EXT_AUTHZ = "envoy.filters.network.ext_authz"
_STAT_PREFIX = "tcp."


def network_filters(access: Access) -> list[Filter]:
    """Return what connections have to pass where ``access`` holds, in their order."""
    return [*_asking(access), *(_rbac(each) for each in _authorization(access))]


def _asking(access: Access) -> Iterator[Filter]:
    """Yield what marks connections for each provider, and what asks; where nobody can be asked about connections, what refuses them."""
    for provider in access.providers:
        rules = rules_of_provider(access, provider, OF_CONNECTIONS)
        asked = access.asked(provider)
        if asked is None or not isinstance(asked.authorizer, GrpcAuthorizer):
            yield _rbac(RBAC(rules=rules, stat_prefix=_STAT_PREFIX))
        else:
            yield _rbac(RBAC(shadow_rules=rules, shadow_rules_stat_prefix=marks_prefix(provider), stat_prefix=_STAT_PREFIX))
            yield Filter(name=EXT_AUTHZ, typed_config=pack(_ext_authz(asked)))


def _ext_authz(asked: Asked) -> ExtAuthz:
    return ExtAuthz(
        stat_prefix=_STAT_PREFIX,
        grpc_service=grpc_service(asked),
        failure_mode_allow=asked.authorizer.fail_open,
        filter_enabled_metadata=marked(RBAC_NAME, asked.name),
        transport_api_version="V3",
    )


def _authorization(access: Access) -> Iterator[RBAC]:
    for action in ORDER:
        enforced = rules_of(access, action, OF_CONNECTIONS)
        tried = rules_of(access, action, OF_CONNECTIONS, tried=True)
        if enforced is not None or tried is not None:
            prefix = "" if tried is None else tried_prefix(action)
            yield RBAC(rules=enforced, shadow_rules=tried, shadow_rules_stat_prefix=prefix, stat_prefix=_STAT_PREFIX)


def _rbac(message: RBAC) -> Filter:
    return Filter(name=RBAC_NAME, typed_config=pack(message))
