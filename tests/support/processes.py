"""Processes and ports of tests: those of the demo, by which real Envoys and control planes are started. Tests ask here, not the demo."""

from __future__ import annotations

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
    "port_owners",
    "start",
    "start_control_plane",
    "start_envoy",
    "start_replica",
]
