"""How a proxy checks the application beside it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpCheck:
    """By a request; a status from 200 to 399 is well. ``host`` is what it names in its header, not where it goes."""

    port: int
    path: str = "/"
    host: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    tls: bool = False


@dataclass(frozen=True, slots=True)
class TcpCheck:
    """By opening a connection to ``host``, empty: to the machine itself."""

    port: int
    host: str = ""


@dataclass(frozen=True, slots=True)
class GrpcCheck:
    """By gRPC's health service, which is asked for ``service``."""

    port: int
    service: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthCheck:
    """What is checked, how often, and how many results in a row change the verdict."""

    method: HttpCheck | TcpCheck | GrpcCheck
    timeout_ms: int = 1_000
    interval_ms: int = 10_000
    healthy_after: int = 1
    unhealthy_after: int = 3
