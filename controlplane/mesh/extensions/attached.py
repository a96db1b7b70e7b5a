"""Which WasmPlugins and TrafficExtensions hold for a workload or a gateway, and where in its chains they stand.

https://istio.io/latest/docs/reference/config/proxy_extensions/wasm-plugin/
"""

from __future__ import annotations

from enum import Enum, auto
from typing import NamedTuple

from controlplane.incremental.database import Database, eager_query, query
from controlplane.ir.extensions.chains import ChainExtension, ExtensionEngine, ExtensionLevel, ExtensionPhase
from controlplane.mesh.faults.places import fault_extensions
from controlplane.mesh.faults.selection import caller_faults
from controlplane.mesh.inputs import objects
from controlplane.mesh.registry.attachments import attached_policies
from controlplane.model.faults.faults import FaultSide
from controlplane.model.keys import TRAFFIC_EXTENSION, WASM_PLUGIN, Key
from controlplane.model.services import Labels
from controlplane.objects.extensions.traffic_extension import TrafficExtension
from controlplane.objects.extensions.wasm_plugin import TrafficSelector, Wasm, WasmPlugin

ExtensionObject = WasmPlugin | TrafficExtension


class TrafficSide(Enum):
    """Whose connections a chain takes."""

    CLIENT = auto()  # those that the workload opens, and those through a gateway
    SERVER = auto()  # those to the workload


_MODES = {
    TrafficSide.CLIENT: ("CLIENT", "CLIENT_AND_SERVER", "UNDEFINED"),
    TrafficSide.SERVER: ("SERVER", "CLIENT_AND_SERVER", "UNDEFINED"),
}


class ExtensionPlacement(NamedTuple):
    """Where the filter of an object stands, in what order within its phase, and on which sides."""

    rank: tuple[int, str, Key]
    filter: ChainExtension
    ports: tuple[tuple[TrafficSide, frozenset[int] | None], ...]  # by side, on which it is


@query
def extensions_of(db: Database, namespace: str, labels: Labels, side: TrafficSide) -> tuple[Key, ...]:
    """Return the extensions of a workload or gateway of ``namespace`` with ``labels`` that see what it has on ``side``, in their order."""
    keys = (key for kind in (WASM_PLUGIN, TRAFFIC_EXTENSION) for key in attached_policies(db, kind, namespace, labels))
    placed = [(placement.rank, key) for key in keys if (placement := extension_placement(db, key)) and side in dict(placement.ports)]
    return (*(key for _, key in sorted(placed)), *(caller_faults(db, namespace, labels) if side is TrafficSide.CLIENT else ()))


@query
def chain_extensions(db: Database, keys: tuple[Key, ...], side: TrafficSide) -> tuple[ChainExtension, ...]:
    """Return the filters of the objects ``keys`` for chains on ``side``."""
    placements = (placement for key in keys if (placement := extension_placement(db, key)))
    of_users = tuple(filtered for placement in placements if (filtered := _on_side(placement, side)))
    acts_at = FaultSide.CALLER if side is TrafficSide.CLIENT else FaultSide.CALLEE
    return of_users + tuple(place for key in keys for place in fault_extensions(db, key, acts_at))


def extension_ports(db: Database, keys: tuple[Key, ...], side: TrafficSide) -> frozenset[int]:
    """Return the ports that filters of the objects ``keys`` are for in particular on ``side``."""
    return frozenset().union(*(extension.ports for extension in chain_extensions(db, keys, side) if extension.ports))


@eager_query
def extension_placement(db: Database, key: Key) -> ExtensionPlacement | None:
    """Return where the filter of the object ``key`` stands."""
    extension = objects(db, key)
    if not isinstance(extension, ExtensionObject):
        return None
    spec = extension.spec
    wasm = wasm_of(extension)
    level = ExtensionLevel.NETWORK if wasm is not None and wasm.type == "NETWORK" else ExtensionLevel.HTTP
    sides = ((side, _ports(spec.match, side)) for side in TrafficSide)
    return ExtensionPlacement(
        (-spec.priority if spec.priority is not None else 1 << 32, extension.meta.seniority, key),
        ChainExtension(
            name=extension_name(key, level),
            phase=ExtensionPhase[spec.phase] if spec.phase in ExtensionPhase.__members__ else ExtensionPhase.UNSPECIFIED,
            level=level,
            engine=ExtensionEngine.LUA if wasm is None else ExtensionEngine.WASM,
            fail_open=wasm is not None and wasm.fail_strategy == "FAIL_OPEN",
        ),
        tuple((side, ports) for side, ports in sides if ports is None or ports),
    )


def wasm_of(extension: ExtensionObject) -> Wasm | None:
    """Return the module of ``extension``, ``None`` where it has a program in Lua."""
    return extension.spec if isinstance(extension, WasmPlugin) else extension.spec.wasm


def extension_name(key: Key, level: ExtensionLevel) -> str:
    """Return the name in ECDS of the filter of the object ``key``; one of another level is another filter."""
    return f"{key.kind.lower()}/{level}/{key.namespace}.{key.name}"


def _ports(selectors: tuple[TrafficSelector, ...], side: TrafficSide) -> frozenset[int] | None:
    """Return the ports that one of ``selectors`` means on ``side``, ``None`` for all; none: it means nothing there."""
    fitting = [selector for selector in selectors if selector.mode in _MODES[side]]
    if not selectors or any(not selector.ports for selector in fitting):
        return None
    return frozenset(port.number for selector in fitting for port in selector.ports)


def _on_side(placement: ExtensionPlacement, side: TrafficSide) -> ChainExtension | None:
    by_side = dict(placement.ports)
    if side not in by_side:
        return None
    extension = placement.filter
    return ChainExtension(
        name=extension.name,
        phase=extension.phase,
        level=extension.level,
        engine=extension.engine,
        fail_open=extension.fail_open,
        ports=by_side[side],
    )
