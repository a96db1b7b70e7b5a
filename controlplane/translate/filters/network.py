"""What connections pass before they are sent on whole: the filters of chains that know no requests."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from envoy.config.listener.v3.listener_components_pb2 import Filter
from envoy.extensions.filters.network.ext_authz.v3.ext_authz_pb2 import ExtAuthz
from envoy.extensions.filters.network.rbac.v3.rbac_pb2 import RBAC

from controlplane.envoy.packing import pack
from controlplane.ir.access import ChainAccess, ExternalAuthorizer, GrpcAuthorization
from controlplane.ir.extensions.chains import ChainExtension, ExtensionLevel, ExtensionPhase
from controlplane.translate.filters.ext_authz import grpc_service, marked, marks_prefix
from controlplane.translate.filters.extensions.places import network_extension
from controlplane.translate.filters.rbac import ORDER, shadow_prefix
from controlplane.translate.rbac.rules import OF_CONNECTIONS, rules_of, rules_of_provider

RBAC_NAME = "envoy.filters.network.rbac"
EXT_AUTHZ = "envoy.filters.network.ext_authz"
_STAT_PREFIX = "tcp."


def network_filters(access: ChainAccess, extensions: Iterable[ChainExtension] = ()) -> list[Filter]:
    """Return what connections have to pass where ``access`` holds, in their order, with those of ``extensions`` that see connections."""
    before, after = (ExtensionPhase.AUTHN, ExtensionPhase.AUTHZ), (ExtensionPhase.STATS, ExtensionPhase.UNSPECIFIED)
    return [
        *_provider_filters(access),
        *_extensions(extensions, before),
        *(_rbac(rules) for rules in _authorization(access)),
        *_extensions(extensions, after),
    ]


def extension_filters(extensions: Iterable[ChainExtension]) -> list[Filter]:
    """Return those of ``extensions`` that see connections, in their order."""
    return list(_extensions(extensions, tuple(ExtensionPhase)))


def _extensions(extensions: Iterable[ChainExtension], phases: tuple[ExtensionPhase, ...]) -> Iterator[Filter]:
    of_connections = [extension for extension in extensions if extension.level is ExtensionLevel.NETWORK]
    for phase in phases:
        yield from (network_extension(extension) for extension in of_connections if extension.phase is phase)


def _provider_filters(access: ChainAccess) -> Iterator[Filter]:
    """Yield what marks connections for each provider, and what asks; where nobody can be asked about connections, what refuses them."""
    for provider in access.providers:
        rules = rules_of_provider(access, provider, OF_CONNECTIONS)
        authorizer = access.authorizer(provider)
        if authorizer is None or not isinstance(authorizer.protocol, GrpcAuthorization):
            yield _rbac(RBAC(rules=rules, stat_prefix=_STAT_PREFIX))
        else:
            yield _rbac(RBAC(shadow_rules=rules, shadow_rules_stat_prefix=marks_prefix(provider), stat_prefix=_STAT_PREFIX))
            yield Filter(name=EXT_AUTHZ, typed_config=pack(_ext_authz(authorizer)))


def _ext_authz(authorizer: ExternalAuthorizer) -> ExtAuthz:
    return ExtAuthz(
        stat_prefix=_STAT_PREFIX,
        grpc_service=grpc_service(authorizer),
        failure_mode_allow=authorizer.fail_open,
        filter_enabled_metadata=marked(RBAC_NAME, authorizer.name),
        transport_api_version="V3",
    )


def _authorization(access: ChainAccess) -> Iterator[RBAC]:
    for action in ORDER:
        enforced = rules_of(access, action, OF_CONNECTIONS)
        shadow = rules_of(access, action, OF_CONNECTIONS, dry_run=True)
        if enforced is not None or shadow is not None:
            prefix = "" if shadow is None else shadow_prefix(action)
            yield RBAC(rules=enforced, shadow_rules=shadow, shadow_rules_stat_prefix=prefix, stat_prefix=_STAT_PREFIX)


def _rbac(message: RBAC) -> Filter:
    return Filter(name=RBAC_NAME, typed_config=pack(message))
