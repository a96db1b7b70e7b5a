"""Which HTTP filters there are, in the order in which requests pass them."""

from __future__ import annotations

from envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2 import HttpFilter as FilterMessage
from google.protobuf.any_pb2 import Any as AnyMessage

from controlplane.envoy.packing import pack
from controlplane.ir.extensions.chains import ExtensionPhase
from controlplane.ir.rules import HttpRule
from controlplane.translate.filters.base import Chain
from controlplane.translate.filters.chosen_address import CHOSEN_ADDRESS
from controlplane.translate.filters.cors import CORS
from controlplane.translate.filters.ext_authz import EXT_AUTHZ, EXT_AUTHZ_SHADOW
from controlplane.translate.filters.extensions.places import ExtensionPlace
from controlplane.translate.filters.fault import FAULT
from controlplane.translate.filters.jwt_authn import JWT_AUTHN
from controlplane.translate.filters.rate_limits.filters import LOCAL_RATELIMIT, RATELIMIT
from controlplane.translate.filters.rbac import RBAC
from controlplane.translate.filters.router import ROUTER

FILTERS = (
    EXT_AUTHZ_SHADOW,
    EXT_AUTHZ,
    ExtensionPlace(ExtensionPhase.AUTHN),
    JWT_AUTHN,
    ExtensionPlace(ExtensionPhase.AUTHZ),
    RBAC,
    LOCAL_RATELIMIT,
    RATELIMIT,
    ExtensionPlace(ExtensionPhase.STATS),
    ExtensionPlace(ExtensionPhase.UNSPECIFIED),
    FAULT,
    CORS,
    CHOSEN_ADDRESS,
    ROUTER,
)


def filters_of(chain: Chain) -> list[FilterMessage]:
    """Return the filters of ``chain``."""
    return [message for http_filter in FILTERS for message in http_filter.messages(chain)]


def of_rule(rule: HttpRule) -> dict[str, AnyMessage]:
    """Return what ``rule`` tells the filters, by filter name."""
    configs = ((http_filter.name, http_filter.of_rule(rule)) for http_filter in FILTERS)
    return {name: pack(config) for name, config in configs if config is not None}
