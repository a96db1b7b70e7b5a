"""What runs in the filters of the users' own."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto

from controlplane.ir.extensions.chains import ExtensionLevel


class FailurePolicy(Enum):
    """What becomes of traffic when the virtual machine of a module has failed."""

    CLOSE = auto()
    OPEN = auto()
    RELOAD = auto()  # it is started again, and refused until then


@dataclass(frozen=True, slots=True)
class ModuleFile:
    """A module in a file of the proxy's own machine."""

    path: str


@dataclass(frozen=True, slots=True)
class InlineModule:
    """A module that goes with the configuration: its content, which ``sha256`` stands for."""

    sha256: str
    content: bytes


@dataclass(frozen=True, slots=True)
class ServedModule:
    """A module that proxies fetch at ``url`` through ``cluster``, and check by ``sha256``."""

    sha256: str
    url: str
    cluster: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WasmProgram:
    """A module in WebAssembly, which the proxy's log calls ``plugin``.

    ``root_id`` is which of the module's contexts is meant, ``configuration`` what it is told, as JSON; its environment has ``variables``,
    and those of the proxy that ``host_variables`` name.
    """

    plugin: str
    code: ModuleFile | InlineModule | ServedModule
    level: ExtensionLevel = ExtensionLevel.HTTP
    root_id: str = ""
    configuration: str | None = None
    failure: FailurePolicy = FailurePolicy.CLOSE
    variables: tuple[tuple[str, str], ...] = ()
    host_variables: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LuaProgram:
    """A program in Lua, which sees requests."""

    code: str


ExtensionProgram = WasmProgram | LuaProgram
