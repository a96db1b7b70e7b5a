"""Whether a workload takes connections without mutual TLS: the result of several PeerAuthentications.

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
    """One PeerAuthentication; ``None`` for a mode leaves it to the policy above.

    ``closed``: it cannot be used, and counts before others of its level; ``on_every_level``: nor can it be read on which level it is.
    """

    namespace: str
    name: str = ""
    created: str = ""
    selects: bool = False
    mode: MutualTLSMode | None = None
    ports: Mapping[int, MutualTLSMode | None] = field(default_factory=dict)
    closed: bool = False
    on_every_level: bool = False


@dataclass(frozen=True, slots=True)
class PeerModes:
    """Which connections a workload takes, and on some ports otherwise."""

    mode: MutualTLSMode = MutualTLSMode.PERMISSIVE
    ports: tuple[tuple[int, MutualTLSMode], ...] = ()

    def on_port(self, port: int) -> MutualTLSMode:
        """Return which connections are taken on ``port`` of the workload."""
        return dict(self.ports).get(port, self.mode)


def effective_modes(policies: Iterable[PeerPolicy], namespace: str, root: str) -> PeerModes:
    """Return the result of ``policies``, all that are about a workload of ``namespace``; ``root`` is the mesh's root namespace.

    The workload's own counts before its namespace's, and that before the mesh's; of several on a level
    one that is closed counts, or else the oldest.
    """
    ordered = sorted(policies, key=lambda policy: (not policy.closed, policy.created, policy.namespace, policy.name))
    mesh_policy = next((policy for policy in ordered if policy.namespace == root and not policy.selects), None)
    namespace_policy = next((policy for policy in ordered if policy.namespace == namespace and not policy.selects), None)
    workload_policy = next(
        (policy for policy in ordered if policy.namespace == namespace and (policy.selects or policy.on_every_level)), None
    )
    levels = [policy.mode for policy in (workload_policy, namespace_policy, mesh_policy) if policy is not None and policy.mode is not None]
    mode = levels[0] if levels else MutualTLSMode.PERMISSIVE
    ports = workload_policy.ports if workload_policy else {}
    return PeerModes(mode, tuple(sorted((port, port_mode or mode) for port, port_mode in ports.items())))
