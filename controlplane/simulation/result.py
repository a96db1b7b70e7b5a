"""What a simulation says: how traffic may go, decision by decision, and where each way ends."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from fractions import Fraction
from typing import NamedTuple

from google.protobuf.struct_pb2 import Value

from controlplane.simulation.matching.head import Head


class Stage(StrEnum):
    """What of a proxy has decided."""

    LISTENER = "listener"
    LISTENER_FILTER = "listener filter"
    FILTER_CHAIN = "filter chain"
    NETWORK_FILTER = "network filter"
    REQUEST = "request"
    ROUTE_TABLE = "route table"
    VIRTUAL_HOST = "virtual host"
    ROUTE = "route"
    HTTP_FILTER = "HTTP filter"
    POLICIES = "policies"
    CLUSTER = "cluster"


class Lost(NamedTuple):
    """What did not fit, and the first thing of it that did not.

    ``place`` is which of several it is, where there are.
    """

    what: str
    why: str
    place: int | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """One decision: what of ``resource`` was ``chosen``, and the reason in plain words.

    ``lost`` came before it and did not fit; ``place`` is which of several was chosen, where there are.
    """

    stage: Stage
    resource: str
    chosen: str
    reason: str
    lost: tuple[Lost, ...] = ()
    place: int | None = None


@dataclass(frozen=True, slots=True)
class Forwarded:
    """One of ``endpoints`` gets it, by way of ``cluster``; an endpoint is ``IP:PORT`` or a path."""

    cluster: str
    endpoints: frozenset[str]


@dataclass(frozen=True, slots=True)
class Answered:
    """Envoy itself answers with ``status``; ``cluster`` is the one that it could not use, where it had chosen one."""

    status: int
    cluster: str = ""


@dataclass(frozen=True, slots=True)
class Closed:
    """Envoy closes the connection; ``cluster`` is the one that it could not use, where it had chosen one."""

    cluster: str = ""


@dataclass(frozen=True, slots=True)
class AwaitsBytes:
    """Nothing happens until the client sends something."""


@dataclass(frozen=True, slots=True)
class AwaitsRequests:
    """Each request on the connection is routed by ``route_table``."""

    route_table: str


@dataclass(frozen=True, slots=True)
class Undecided:
    """What decides is not simulated."""


Landing = Forwarded | Answered | Closed | AwaitsBytes | AwaitsRequests | Undecided


@dataclass(frozen=True, slots=True)
class Mirrored:
    """A copy of the request goes to ``cluster``, in ``share`` of all cases; nobody waits for the answer."""

    cluster: str
    share: Fraction


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One way that traffic may go.

    ``share`` of it goes this way; ``asks`` are filters on the way that may still refuse it. ``sent`` is the request as it is sent on.
    """

    landing: Landing
    steps: tuple[Step, ...]
    share: Fraction
    mirrors: tuple[Mirrored, ...] = ()
    asks: tuple[str, ...] = ()
    sent: Head | None = None

    def chosen(self, stage: Stage) -> str:
        """Return what was last chosen at ``stage``, and nothing where it was not reached."""
        return next((step.chosen for step in reversed(self.steps) if step.stage is stage), "")


@dataclass(frozen=True, slots=True)
class Simulation:
    """All ways that traffic may go; their shares add up to one."""

    outcomes: tuple[Outcome, ...]

    @property
    def landings(self) -> frozenset[Landing]:
        """Return where it may end."""
        return frozenset(outcome.landing for outcome in self.outcomes)


@dataclass(frozen=True, slots=True)
class Walk:
    """A way that has not ended yet.

    ``draws`` are what is known of the random number of a request, by modulus: Envoy draws one for each, from which all fractions of routes
    and all weights of clusters follow. A route for 30 of 100 requests whose clusters weigh 50 and 50 sends all of these to the first.
    Numbers of different moduli are taken as independent.
    """

    steps: tuple[Step, ...] = ()
    share: Fraction = Fraction(1)
    draws: tuple[tuple[int, range], ...] = ()
    mirrors: tuple[Mirrored, ...] = ()
    asks: tuple[str, ...] = ()
    told: tuple[tuple[str, Value], ...] = ()  # what filters have told the load balancer
    sent: Head | None = None  # the request as its route sends it on

    def step(self, stage: Stage, resource: str, chosen: str, reason: str, lost: tuple[Lost, ...] = (), place: int | None = None) -> Walk:
        """Return the way after one more decision."""
        return replace(self, steps=(*self.steps, Step(stage, resource, chosen, reason, lost, place)))

    def passing(self, stage: Stage, name: str) -> Walk:
        """Return the way past the filter ``name``, which may refuse."""
        return replace(self.step(stage, name, name, "may refuse it: that is not simulated"), asks=(*self.asks, name))

    def by_chance(self, share: Fraction) -> Walk:
        """Return the way that ``share`` of what comes here takes, by a random number of its own."""
        return replace(self, share=self.share * share)

    def drawing(self, modulus: int, low: int, high: int) -> Walk | None:
        """Return the way of requests whose number, modulo ``modulus``, is from ``low`` on and below ``high``; or ``None``."""
        known = dict(self.draws)
        before = known.get(modulus, range(modulus))
        now = range(max(before.start, low), min(before.stop, high))
        if not now:
            return None
        share = self.share * Fraction(len(now), len(before))
        return replace(self, share=share, draws=tuple(sorted({**known, modulus: now}.items(), key=lambda draw: draw[0])))

    def ends(self, landing: Landing) -> Outcome:
        """Return the way, which ends at ``landing``."""
        return Outcome(landing=landing, steps=self.steps, share=self.share, mirrors=self.mirrors, asks=self.asks, sent=self.sent)
