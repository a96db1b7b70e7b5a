"""A fault that a drill injects: where, into which requests, and how far it has come."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, StrEnum
from typing import NamedTuple, assert_never

from controlplane.model.faults.kinds import (
    AnswerGrpc,
    AnswerHttp,
    CloseConnections,
    DelayRequests,
    DistrustCallers,
    FaultKind,
    LimitRequests,
    LoseZone,
    PartCallers,
    RemoveInstances,
    SaturateInstances,
    SwallowRequests,
)
from controlplane.model.keys import NAVARCH, GroupKind, Key
from controlplane.model.services import Labels

ALL = 1_000_000  # per million
FILTER_PREFIX = "drill/"


class FaultSide(StrEnum):
    """Whose proxy makes the fault: before it sends a request, or after it has got one."""

    CALLER = "caller"
    CALLEE = "callee"


class FaultStage(Enum):
    """How far a fault has come."""

    PREPARED = "prepared"  # its place in the configuration is there, and does nothing: what begins it changes nothing else
    IN_FORCE = "in force"


FAULT = GroupKind(NAVARCH, "Fault")  # which no user writes: what drills inject stands by keys among what proxies pass


class FaultId(NamedTuple):
    """One injection of a drill: the drill's namespace and name, and the name of the injection within it."""

    namespace: str
    drill: str
    injection: str

    @property
    def key(self) -> Key:
        """Return its key."""
        return FAULT.key(self.namespace, f"{self.drill}/{self.injection}")

    @property
    def drill_path(self) -> str:
        """Return ``namespace/drill``."""
        return f"{self.namespace}/{self.drill}"

    @property
    def filter_name(self) -> str:
        """Return what the names of its filters begin with."""
        return f"{FILTER_PREFIX}{self.namespace}.{self.drill}.{self.injection}"

    def __str__(self) -> str:
        """Return ``namespace/drill/injection``."""
        return f"{self.namespace}/{self.drill}/{self.injection}"

    @classmethod
    def of(cls, key: Key) -> FaultId | None:
        """Return the fault that ``key`` is of, ``None`` where it is another object's."""
        drill, _, injection = key.name.partition("/")
        return cls(key.namespace, drill, injection) if key.group_kind == FAULT else None


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkloadSelection:
    """Workloads of ``namespaces`` (none: of all) that have ``labels``; in ``zone`` only, where one is named (``region/zone/subzone``)."""

    namespaces: tuple[str, ...] = ()
    labels: Labels = ()
    zone: str = ""

    def selects(self, namespace: str, labels: Labels, locality: str = "") -> bool:
        """Return whether a workload of ``namespace`` with ``labels`` in ``locality`` is among them."""
        if self.namespaces and namespace not in self.namespaces:
            return False
        return is_in_zone(locality, self.zone) and set(self.labels) <= set(labels)


ALL_WORKLOADS = WorkloadSelection()


@dataclass(frozen=True, slots=True)
class HeaderText:
    """The header ``name`` has ``value``; with ``prefix``, begins with it."""

    name: str
    value: str
    prefix: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class HitRequests:
    """Requests with all ``headers`` and, if there are any, one of ``methods`` and a path that begins with one of ``path_prefixes``."""

    headers: tuple[HeaderText, ...] = ()
    path_prefixes: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()


EVERY_REQUEST = HitRequests()


@dataclass(frozen=True, slots=True, kw_only=True)
class DrillFault:
    """What is done to requests from ``caller`` to the service ``host``, or to its instances that ``callee`` selects.

    ``host`` is a fully qualified name, as DestinationRules have it; ``per_million`` of what fits ``match`` is hit.
    """

    id: FaultId
    kind: FaultKind
    host: str
    side: FaultSide = FaultSide.CALLER
    caller: WorkloadSelection = ALL_WORKLOADS
    callee: WorkloadSelection = ALL_WORKLOADS
    port: int = 0  # of the service, 0 all
    match: HitRequests = EVERY_REQUEST
    per_million: int = ALL

    @property
    def acts_at(self) -> FaultSide:
        """Return whose proxies make it: who chooses among endpoints is the caller, and what instances do the callee, whatever is said."""
        match self.kind:
            case RemoveInstances() | LoseZone():
                return FaultSide.CALLER
            case LimitRequests() | SaturateInstances() | CloseConnections() | PartCallers() | DistrustCallers():
                return FaultSide.CALLEE
            case DelayRequests() | AnswerHttp() | AnswerGrpc() | SwallowRequests():
                return self.side
            case _:
                assert_never(self.kind)

    @property
    def mistake(self) -> str:
        """Return what of it cannot be done, and what can; empty: all of it can."""
        of_some = isinstance(self.kind, DelayRequests | AnswerHttp | AnswerGrpc | SwallowRequests)
        if not of_some and self.per_million != ALL:
            return f"{self.kind.words} all or nothing: expected 100 percent"
        of_requests = of_some or isinstance(self.kind, LimitRequests | SaturateInstances)
        if not of_requests and self.match != EVERY_REQUEST:
            return f"{self.kind.words} whatever the request: expected no match"
        if self.caller.zone:
            return "callers are not told apart by their zone: expected namespaces and labels"
        return ""


@dataclass(frozen=True, slots=True)
class StagedFault:
    """A fault, how far it has come, and for how many milliseconds a proxy keeps it that hears nothing more: its lease."""

    fault: DrillFault
    stage: FaultStage
    lease_ms: int = 10_000


def is_in_zone(locality: str, zone: str) -> bool:
    """Return whether ``locality`` is ``zone`` or within it; both are ``region/zone/subzone``, or the beginning of that."""
    return not zone or locality == zone or locality.startswith(f"{zone}/")
