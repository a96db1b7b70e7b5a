"""What the admin API shows, as functions that find it: this room decides on nothing and keeps nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from prometheus_client.core import Metric

from controlplane.admin.schemas import HistoryRow, IdentityRow, IssuerRow, LoadRow, ManifestChange, ModuleRow, ProxyRow, RefusedCallerRow
from controlplane.fleet.rollout import Standing
from controlplane.mesh.mesh import Mesh
from controlplane.mesh.sessions import Session
from controlplane.model.keys import Key
from controlplane.model.problems import Problem
from controlplane.objects.locations import Locations


@dataclass(frozen=True, slots=True)
class KubernetesState:
    """Where the state of what is exchanged with an API server is read."""

    silences: Callable[[], Mapping[str, float]]  # for how many seconds nothing was heard, by resource
    leads: Callable[[], bool]
    status_writes: Callable[[], int]
    status_failures: Callable[[], int]  # how often a status was not taken
    problems: Callable[[], Sequence[Problem]]  # of the objects whose status is not taken
    reviews: Callable[[], Mapping[str, int]]  # of the webhook, by answer
    reached: Callable[[], Mapping[str, bool]] = dict  # by configuration of webhooks: whether the API server reaches us, as far as we lead


class ObjectStandings(Protocol):
    """How far objects have come among the proxies of this control plane."""

    def standing(self, key: Key) -> Standing:
        """Return how far the object ``key`` has come, as of the last ``look``."""

    async def look(self) -> None:
        """Look at what proxies refuse now."""


@dataclass(frozen=True, slots=True)
class HistoryState:
    """Where is read what has changed lately."""

    last: Callable[[], int] = int  # the number of the newest change
    rows: Callable[[int | None], Iterator[HistoryRow]] = lambda _: iter(())  # the newest first; or one
    unknown: Callable[[int, int], str | None] = lambda *_: "nothing is remembered"  # why it cannot be said what changed between two
    between: Callable[[int, int], Iterator[ManifestChange]] = lambda *_: iter(())


@dataclass(frozen=True, slots=True)
class AdminState:
    """Where each part of the state is read."""

    mesh: Mesh
    proxies: Callable[[str | None], Iterator[ProxyRow]]  # one, or all: row by row
    sessions: Callable[[], Sequence[Session]]
    locations: Callable[[], Sequence[Locations]]  # copies that stay as they are: equal as long as nothing has changed
    not_ready: Callable[[], str | None]  # why, or None
    refreshes: Callable[[], int]
    rejects: Callable[[], Mapping[str, int]]  # how often responses were refused, by type URL
    fleet_problems: Callable[[], Iterable[Sequence[Problem]]] = tuple  # refusals of proxies and the API server, old proxies: in pieces
    fleet_problems_version: Callable[[], object] = tuple  # equal as long as these are the same
    tasks: Callable[[], int] = int  # of the event loop
    observed: Callable[[], Iterable[Metric | None]] = tuple  # how long things take, and what there is to do: in pieces
    standings: ObjectStandings | None = None  # how far objects have come
    held_back: Callable[[], int] = int  # how many objects have rules that stay as they were for now
    kubernetes: KubernetesState | None = None
    identity: Callable[[], IdentityRow | None] = lambda: None
    issuers: Callable[[], Sequence[IssuerRow]] = tuple
    load: Callable[[str | None], Sequence[LoadRow]] = lambda _: ()  # of one proxy, or of all
    load_totals: Callable[[], Mapping[str, tuple[int, int]]] = dict  # requests and errors by cluster
    refused_callers: Callable[[], Sequence[RefusedCallerRow]] = tuple  # that came last
    callers_refused: Callable[[], Mapping[str, int]] = dict  # how many there ever were, by failure
    fetches: Callable[[], Mapping[str, int]] = dict  # of issuers' keys, by outcome
    history: HistoryState = HistoryState()
    proxies_version: Callable[[], object] = tuple  # equal as long as the proxies are shown the same
    modules: Callable[[], Sequence[ModuleRow]] = tuple  # that are fetched
    module_fetches: Callable[[], Mapping[str, int]] = dict  # by outcome
