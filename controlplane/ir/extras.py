"""What is done to requests besides sending them somewhere: headers are changed, browsers are answered, faults are injected."""

from __future__ import annotations

from dataclasses import dataclass

from controlplane.ir.text import TextMatch


@dataclass(frozen=True, slots=True)
class HeaderChanges:
    """Headers that are set, whatever they were, added to what is there, and removed. The authority is none: rules set it apart."""

    set: tuple[tuple[str, str], ...] = ()
    add: tuple[tuple[str, str], ...] = ()
    remove: tuple[str, ...] = ()


NO_CHANGES = HeaderChanges()


@dataclass(frozen=True, slots=True, kw_only=True)
class Cors:
    """Which pages of other origins may read what is answered; ``forward_unmatched``: preflights from others go to the application."""

    origins: tuple[TextMatch, ...]
    methods: tuple[str, ...] = ()
    headers: tuple[str, ...] = ()
    expose: tuple[str, ...] = ()
    max_age_s: int | None = None
    credentials: bool | None = None
    forward_unmatched: bool = True


@dataclass(frozen=True, slots=True)
class Delayed:
    """``per_million`` of the requests wait ``wait_ms`` before they go on."""

    wait_ms: int
    per_million: int


@dataclass(frozen=True, slots=True)
class HttpAbort:
    """``per_million`` of the requests are answered with an HTTP ``status``."""

    status: int
    per_million: int


@dataclass(frozen=True, slots=True)
class GrpcAbort:
    """``per_million`` of the requests are answered with a gRPC status, by its number."""

    status: int
    per_million: int


@dataclass(frozen=True, slots=True)
class Fault:
    """Faults that are injected: a delay, an answer instead of the application's, or both."""

    delay: Delayed | None = None
    abort: HttpAbort | GrpcAbort | None = None
