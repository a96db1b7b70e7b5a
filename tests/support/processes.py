"""Processes and ports of tests: those of the demo, by which real Envoys and control planes are started. Tests ask here, not the demo."""

from __future__ import annotations

import os
from pathlib import Path

from controlplane.demo.ports import free_network, free_port, port_owners
from controlplane.demo.processes import (
    ADMIN_PORT,
    EnvoySpec,
    NotReady,
    Process,
    Replica,
    envoy_binary,
    start,
    start_control_plane,
    start_envoy,
    start_replica,
)

__all__ = [
    "ADMIN_PORT",
    "EnvoySpec",
    "NotReady",
    "Process",
    "Replica",
    "envoy_binary",
    "free_network",
    "free_port",
    "passable",
    "port_owners",
    "start",
    "start_control_plane",
    "start_envoy",
    "start_replica",
]


def passable(folder: Path) -> None:
    """Let other users get into ``folder``: an Envoy beside an application is one."""
    folder.chmod(0o755)
    for each in folder.parents:
        if each.stat().st_uid == os.getuid() and each != Path("/") and not each.stat().st_mode & 0o1:
            each.chmod(each.stat().st_mode | 0o11)
