"""The kinds of faults: what becomes of requests, connections or instances while one is in force."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class DelayRequests:
    """Requests wait ``wait_ms`` before they go on."""

    wait_ms: int

    @property
    def words(self) -> str:
        """Return what happens, as users read it."""
        return f"requests are delayed by {self.wait_ms} ms"


@dataclass(frozen=True, slots=True)
class AnswerHttp:
    """Requests are answered with an HTTP ``status``, 200 to 599."""

    status: int

    @property
    def words(self) -> str:
        """Return what happens, as users read it."""
        return f"requests are answered {self.status}"


@dataclass(frozen=True, slots=True)
class AnswerGrpc:
    """Requests are answered with a gRPC ``status``, 1 to 16."""

    status: int

    @property
    def words(self) -> str:
        """Return what happens, as users read it."""
        return f"requests are answered with the gRPC status {self.status}"


@dataclass(frozen=True, slots=True)
class CloseConnections:
    """Connections are closed at their first bytes, before anything is answered."""

    @property
    def words(self) -> str:
        """Return what happens, as users read it."""
        return "connections are closed"


@dataclass(frozen=True, slots=True)
class LimitRequests:
    """``requests`` are let through in ``per_ms``, by each proxy; the others are answered ``status``."""

    requests: int
    per_ms: int = 1000
    status: int = 429

    @property
    def words(self) -> str:
        """Return what happens, as users read it."""
        return f"all but {self.requests} requests in {self.per_ms} ms are answered {self.status}"


@dataclass(frozen=True, slots=True)
class RemoveInstances:
    """Endpoints of the callee get no requests: ``count`` of them, or ``percent``, or those of ``names``.

    Names are those of pods or WorkloadEntries, or addresses.
    Which ones is decided by a hash of ``seed`` and the address, so that every control plane takes out the same.
    """

    count: int = 0
    percent: float = 0.0
    names: tuple[str, ...] = ()
    seed: int = 0

    @property
    def words(self) -> str:
        """Return what happens, as users read it."""
        return "instances are taken out"


@dataclass(frozen=True, slots=True)
class LoseZone:
    """Endpoints of the callee in ``zone`` (``region``, ``region/zone`` or ``region/zone/subzone``) get no requests."""

    zone: str

    @property
    def words(self) -> str:
        """Return what happens, as users read it."""
        return f"the instances in {self.zone} are taken out"


@dataclass(frozen=True, slots=True)
class PartCallers:
    """The callee closes connections of the callers, as if nothing led from these to it."""

    @property
    def words(self) -> str:
        """Return what happens, as users read it."""
        return "callers are cut off"


@dataclass(frozen=True, slots=True)
class SwallowRequests:
    """Requests and connections are taken and never answered, for as long as the fault is in force and at most ``hold_ms``."""

    hold_ms: int = 3_600_000

    @property
    def words(self) -> str:
        """Return what happens, as users read it."""
        return "requests are never answered"


@dataclass(frozen=True, slots=True)
class SaturateInstances:
    """At most ``concurrency`` requests are in work at a time, each ``wait_ms`` longer; more are answered 503: a busy CPU, from outside."""

    concurrency: int
    wait_ms: int

    @property
    def words(self) -> str:
        """Return what happens, as users read it."""
        return f"{self.concurrency} requests are in work at a time, {self.wait_ms} ms longer"


@dataclass(frozen=True, slots=True)
class DistrustCallers:
    """The callee refuses connections by certificates of the callers, as if it no longer trusted who has signed them."""

    @property
    def words(self) -> str:
        """Return what happens, as users read it."""
        return "the certificates of callers are refused"


FaultKind = (
    DelayRequests
    | AnswerHttp
    | AnswerGrpc
    | CloseConnections
    | LimitRequests
    | RemoveInstances
    | LoseZone
    | PartCallers
    | SwallowRequests
    | SaturateInstances
    | DistrustCallers
)
EndpointFault = RemoveInstances | LoseZone
