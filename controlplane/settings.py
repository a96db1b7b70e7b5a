"""What the operator chose, as frozen data."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How one control plane runs; addresses are ``host:port``, and port 0 is any free one."""

    files: tuple[str, ...]  # folders of manifests
    xds: str = "127.0.0.1:15010"
    admin: str = "127.0.0.1:15014"
    health: str | None = None  # for a kubelet and Prometheus; None: not served
    admin_hosts: tuple[str, ...] = ()  # names by which the admin API may be called, besides those of the loopback interface
    grace_s: float = 5.0  # within which streams end at the stop
