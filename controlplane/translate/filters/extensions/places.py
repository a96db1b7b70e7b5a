"""The places of users' own filters in chains: what stands there is asked for by ECDS, so that its changes leave connections alone.

Until the answer comes, and where the proxy cannot use it, a filter of Envoy's own stands in: it refuses everything, or lets it pass.
https://www.envoyproxy.io/docs/envoy/latest/configuration/overview/extension
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import assert_never

from envoy.config.core.v3.config_source_pb2 import ExtensionConfigSource
from envoy.config.core.v3.extension_pb2 import TypedExtensionConfig
from envoy.config.listener.v3.listener_components_pb2 import Filter
from envoy.extensions.filters.http.fault.v3.fault_pb2 import HTTPFault
from envoy.extensions.filters.http.lua.v3.lua_pb2 import Lua
from envoy.extensions.filters.http.wasm.v3.wasm_pb2 import Wasm
from envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2 import HttpFilter as FilterMessage
from envoy.extensions.filters.network.rbac.v3.rbac_pb2 import RBAC
from envoy.extensions.filters.network.wasm.v3.wasm_pb2 import Wasm as NetworkWasm
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.message import Message

from controlplane.envoy.packing import pack
from controlplane.envoy.type_urls import PREFIX
from controlplane.ir.extensions.chains import ChainExtension, ExtensionEngine, ExtensionLevel, ExtensionPhase
from controlplane.ir.rules import HttpRule
from controlplane.translate.addresses import ads
from controlplane.translate.faults.requests import OF_REQUESTS
from controlplane.translate.filters.base import Chain

_UNAVAILABLE = 503
_PATIENCE_S = 5  # how long a listener waits for what ECDS has; after that the stand-in is in use


@dataclass(frozen=True, slots=True)
class ExtensionPlace:
    """Where the HTTP filters of ``phase`` stand."""

    phase: ExtensionPhase
    name: str = ""  # which routes can tell nothing

    def messages(self, chain: Chain) -> Iterator[FilterMessage]:
        """Yield the filters of ``chain`` that stand here."""
        for extension in chain.extensions:
            if extension.phase is self.phase and extension.level is ExtensionLevel.HTTP:
                yield FilterMessage(name=extension.name, config_discovery=_discovery(extension))

    def of_rule(self, rule: HttpRule) -> Message | None:
        """Return that a rule tells them nothing."""
        del rule
        return None


def network_extension(extension: ChainExtension) -> Filter:
    """Return the filter of connections ``extension``."""
    return Filter(name=extension.name, config_discovery=_discovery(extension))


def typed_config(name: str, config: AnyMessage) -> TypedExtensionConfig:
    """Return what the filter ``name`` does, as ECDS has it."""
    return TypedExtensionConfig(name=name, typed_config=config)


def stand_in_config(extension: ChainExtension) -> TypedExtensionConfig:
    """Return what stands in for what ``extension`` runs, as ECDS has it."""
    return typed_config(extension.name, pack(_stand_in(extension)))


def lets_pass(stand_in: AnyMessage) -> bool:
    """Return whether what stands in for a filter lets everything pass, so that the filter may as well be missing."""
    fault, rbac = HTTPFault(), RBAC()
    return (stand_in.Unpack(fault) and not fault.HasField("abort")) or (stand_in.Unpack(rbac) and not rbac.HasField("rules"))


def _stand_in(extension: ChainExtension) -> HTTPFault | RBAC:
    return _network_stand_in(extension) if extension.level is ExtensionLevel.NETWORK else _http_stand_in(extension)


def _discovery(extension: ChainExtension) -> ExtensionConfigSource:
    stand_in = _stand_in(extension)
    source = ads()
    source.initial_fetch_timeout.seconds = _PATIENCE_S
    types = sorted({PREFIX + message.DESCRIPTOR.full_name for message in (*_message_types(extension), type(stand_in))})
    return ExtensionConfigSource(config_source=source, default_config=pack(stand_in), type_urls=types)


def _message_types(extension: ChainExtension) -> Iterable[type[Message]]:
    match extension.engine:
        case ExtensionEngine.LUA:
            return (Lua,)
        case ExtensionEngine.WASM:
            return (NetworkWasm if extension.level is ExtensionLevel.NETWORK else Wasm,)
        case ExtensionEngine.FAULT:
            return () if extension.level is ExtensionLevel.NETWORK else OF_REQUESTS
        case _:
            assert_never(extension.engine)


def _http_stand_in(extension: ChainExtension) -> HTTPFault:
    if extension.fail_open:
        return HTTPFault()
    return HTTPFault(abort={"http_status": _UNAVAILABLE, "percentage": {"numerator": 100}})


def _network_stand_in(extension: ChainExtension) -> RBAC:
    rbac = RBAC(stat_prefix="extension.")
    if not extension.fail_open:
        rbac.rules.SetInParent()  # what no policy allows is denied, and there is none
    return rbac
