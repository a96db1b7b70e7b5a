"""Whether a workload takes connections without mutual TLS: what several PeerAuthentications come to.

https://istio.io/latest/docs/reference/config/security/peer_authentication/
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class MutualTLSMode(StrEnum):
    """Which connections are taken."""

    DISABLE = "DISABLE"  # plaintext
    PERMISSIVE = "PERMISSIVE"  # both
    STRICT = "STRICT"  # mutual TLS


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerPolicy:
    """One PeerAuthentication; ``None`` for a mode leaves it to the policy above."""

    namespace: str
    name: str = ""
    created: str = ""
    selects: bool = False
    mode: MutualTLSMode | None = None
    ports: Mapping[int, MutualTLSMode | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PeerModes:
    """Which connections a workload takes, and on some ports otherwise."""

    mode: MutualTLSMode = MutualTLSMode.PERMISSIVE
    ports: tuple[tuple[int, MutualTLSMode], ...] = ()

    def on_port(self, port: int) -> MutualTLSMode:
        """Return which connections are taken on ``port`` of the workload."""
        return dict(self.ports).get(port, self.mode)


def effective_modes(policies: Iterable[PeerPolicy], namespace: str, root: str) -> PeerModes:
    """Return what ``policies``, all that are about a workload of ``namespace``, come to; ``root`` is the mesh's root namespace.

    The workload's own counts before its namespace's, and that before the mesh's; of several on a level the oldest.
    """
    ordered = sorted(policies, key=lambda each: (each.created, each.namespace, each.name))
    mesh = next((each for each in ordered if each.namespace == root and not each.selects), None)
    general = next((each for each in ordered if each.namespace == namespace and not each.selects), None)
    own = next((each for each in ordered if each.namespace == namespace and each.selects), None)
    levels = [each.mode for each in (own, general, mesh) if each is not None and each.mode is not None]
    mode = levels[0] if levels else MutualTLSMode.PERMISSIVE
    ports = own.ports if own else {}
    return PeerModes(mode, tuple(sorted((port, said or mode) for port, said in ports.items())))
