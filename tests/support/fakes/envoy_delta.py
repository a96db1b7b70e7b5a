"""The model of Envoy as it speaks Delta."""

from __future__ import annotations

from collections.abc import Iterable
from random import Random

from controlplane.envoy.type_urls import CDS, EDS, LDS, RDS, VHDS
from controlplane.xds.delta import DeltaStream
from controlplane.xds.view import View, folder
from tests.support.fakes.envoy_model import EnvoyModel
from tests.support.fakes.worlds import tables_of
from tests.support.fakes.xds_client import DeltaClient, Heard


class DeltaEnvoy(EnvoyModel):
    """Envoy with Delta."""

    def __init__(self, random: Random, view: View) -> None:
        """Connect to a server that shows ``view``."""
        super().__init__(random)
        self.connect(view)

    @property
    def stream(self) -> DeltaStream:
        return self.client.delta

    def connect(self, view: View) -> None:
        """Begin a new stream, with all that was accepted on the one before."""
        self.client = DeltaClient(view=view)
        self.lose()
        asked = self.held[RDS].keys() | tables_of(self.held[LDS])
        self.endpoints: set[str] = set(self.held[CDS])
        self.routes: set[str] = set(asked)
        self.hosts = bool(self.held[RDS])
        self._first(CDS)
        self._first(EDS, *sorted(self.endpoints))
        self._first(LDS)
        if self.hosts and self.random.random() < 0.5:
            self._first(VHDS)
            self._first(RDS, *sorted(self.routes))
        else:
            self._first(RDS, *sorted(self.routes))
            if self.hosts:
                self._first(VHDS)

    def ask_again(self) -> None:
        """Ask for something that was asked for already: it has to be answered (XP-51)."""
        kind, known = self.random.choice([(EDS, self.endpoints), (RDS, self.routes)])
        if known:
            name = self.random.choice(sorted(known))
            self.unanswered.add((kind, name))
            self._say(kind, name)

    def take_one(self) -> Heard | None:
        """Return the next response."""
        response = self.client.delta.take()
        return self.client._read(response) if response else None

    def reply(self, heard: Heard, error: str = "") -> None:
        """Accept ``heard``, or refuse it for ``error``."""
        self.client.judge(heard, error)
        if heard.type_url == RDS and not error and self.held[RDS] and not self.hosts:
            self.hosts = True
            self._first(VHDS)

    def endpoints_wanted(self) -> None:
        """Ask for the endpoints of the clusters that there are now."""
        wanted = self.clusters()
        self._change(EDS, self.endpoints, wanted)

    def routes_wanted(self) -> None:
        """Ask for the route configurations of the listeners that there are now."""
        wanted = tables_of(self.held[LDS])
        for table in self.routes - wanted:
            coming = self.inbox[VHDS].says if VHDS in self.inbox else {}
            for name in [name for name in (*self.held[VHDS], *coming) if folder(name) == table]:
                self.lets_go(VHDS, name)
        self._change(RDS, self.routes, wanted)

    def removes(self, heard: Heard) -> set[str]:
        """Return the names that ``heard`` takes away."""
        return set(heard.removed)

    def is_known(self) -> bool:
        """Return whether the server can know what the client had before this stream."""
        return True

    def _change(self, type_url: str, known: set[str], wanted: set[str]) -> None:
        if known != wanted:
            self.unanswered -= {(type_url, name) for name in known - wanted}
            self.unanswered |= {(type_url, name) for name in wanted - known}
            self._say(type_url, *sorted(wanted - known), drop=sorted(known - wanted))
            for name in known - wanted:
                self.lets_go(type_url, name)
            known.clear()
            known |= wanted

    def _first(self, type_url: str, *names: str) -> None:
        held = {name: version for name, version in self.versions[type_url].items() if name in self.held[type_url]}
        self.client.tell(type_url, *names, versions=held)

    def _say(self, type_url: str, *names: str, drop: Iterable[str] = ()) -> None:
        self.client.tell(type_url, *names, drop=drop)
