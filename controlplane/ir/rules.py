"""Rules for HTTP requests, and the virtual hosts that they stand in."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple, Protocol, TypeVar

from controlplane.ir.actions import Action, Forward
from controlplane.ir.backends import ServiceBackend
from controlplane.ir.extras import NO_CHANGES, Cors, Fault, HeaderChanges
from controlplane.ir.matches import EVERY_REQUEST, RequestMatch
from controlplane.model.deferrals import NONE_MISSING, MissingDestination, MissingDestinations
from controlplane.model.keys import Key


@dataclass(frozen=True, slots=True, order=True)
class WrittenOrder:
    """Rules come as they are written, those of older objects first; what takes every request comes last, whoever has written it.

    https://istio.io/latest/docs/ops/best-practices/traffic-management/#split-virtual-services
    """

    takes_everything: bool
    created: str
    key: Key
    at: int  # among the rules of the object


UNNAMED = "default"  # what statistics and logs call a rule that nobody has written
Rank = WrittenOrder  # one kind a host: what another API orders by is another one
UNWRITTEN = WrittenOrder(takes_everything=True, created="", key=Key("", "", ""), at=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpRule:
    """What is done with the requests that fit ``match``."""

    match: RequestMatch = EVERY_REQUEST
    action: Action
    request: HeaderChanges = NO_CHANGES
    response: HeaderChanges = NO_CHANGES
    cors: Cors | None = None
    fault: Fault | None = None
    name: str = ""  # as users see it in statistics and logs; empty: they have given it none
    stat_prefix: str = ""
    origin: str = ""  # the path of the object that says so; empty: nobody has written it
    rank: Rank = UNWRITTEN

    @property
    def missing(self) -> MissingDestinations:
        """Return the destinations of the rule that are not there."""
        if not isinstance(self.action, Forward):
            return NONE_MISSING
        backends = [weighted.backend for weighted in self.action.backends] + [mirror.backend for mirror in self.action.mirrors]
        missing = (backend.destination for backend in backends if isinstance(backend, ServiceBackend) and backend.missing)
        return frozenset(MissingDestination(self.rank.key, destination) for destination in missing)


class RequestPort(NamedTuple):
    """The port of a listener at which requests arrive."""

    number: int
    tls: bool = False  # they come by TLS that the listener ends


class Ranked(Protocol):
    """A rule that users have written, in whatever form."""

    @property
    def rank(self) -> Rank:
        """Return its place among others."""


R = TypeVar("R", bound=Ranked)


def in_order(rules: Iterable[R]) -> tuple[R, ...]:
    """Return ``rules`` by their ranks, less what comes after one that takes everything: no request is left for it."""
    ordered = sorted(rules, key=lambda rule: rule.rank)
    first = next((at for at, rule in enumerate(ordered) if rule.rank.takes_everything), len(ordered))
    return tuple(ordered[: first + 1])
