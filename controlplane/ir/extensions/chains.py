"""Filters of the users' own, in WebAssembly and in Lua: where they stand in chains."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum, StrEnum, auto


class ExtensionPhase(Enum):
    """Before which of the filters that there are otherwise a filter stands."""

    AUTHN = auto()  # before tokens are verified
    AUTHZ = auto()  # after that, before policies are enforced
    STATS = auto()  # after that
    UNSPECIFIED = auto()  # after those of STATS


class ExtensionLevel(StrEnum):
    """What a filter sees."""

    HTTP = "http"  # requests
    NETWORK = "network"  # the bytes of connections


class ExtensionEngine(StrEnum):
    """What runs a filter."""

    WASM = "wasm"
    LUA = "lua"
    FAULT = "fault"  # a filter of Envoy's own, for a drill


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainExtension:
    """A filter in a chain. What it runs comes by ECDS under its ``name``, and can change without the chain.

    ``fail_open``: as long as there is nothing to run, traffic passes; otherwise it is refused. ``ports`` are those of the connections that
    it is for, ``None`` all.
    """

    name: str
    phase: ExtensionPhase
    level: ExtensionLevel
    engine: ExtensionEngine
    fail_open: bool = False
    ports: frozenset[int] | None = None

    def is_on(self, port: int | None) -> bool:
        """Return whether it is for connections to ``port``, ``None`` where that is not one in particular."""
        return self.ports is None or port in self.ports


def on_port(extensions: Iterable[ChainExtension], port: int | None) -> tuple[ChainExtension, ...]:
    """Return those of ``extensions`` that are for connections to ``port``."""
    return tuple(extension for extension in extensions if extension.is_on(port))
