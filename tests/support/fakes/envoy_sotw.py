"""The model of Envoy as it speaks the state of the world."""

from __future__ import annotations

from random import Random

from controlplane.envoy.type_urls import CDS, EDS, LDS, RDS
from controlplane.xds.sotw import SotwStream
from controlplane.xds.view import View
from tests.support.fakes.envoy_model import EnvoyModel
from tests.support.fakes.worlds import tables_of
from tests.support.fakes.xds_client import Heard, SotwClient


class SotwEnvoy(EnvoyModel):
    """Envoy with the state of the world."""

    repeats = True

    def __init__(self, random: Random, view: View) -> None:
        """Connect to a server that shows ``view``."""
        super().__init__(random)
        self.last: dict[str, tuple[str, str]] = {}
        self.asked: dict[str, set[str]] = {}
        self.connect(view)

    @property
    def stream(self) -> SotwStream:
        return self.client.sotw

    def connect(self, view: View) -> None:
        """Begin a new stream."""
        self.client = SotwClient(view=view)
        self.known: set[str] = set()  # types of which something was accepted on this stream
        self.lose()
        self.last = {type_url: (version, "") for type_url, (version, _) in self.last.items()}
        self.asked = {CDS: set(), EDS: set(self.held[CDS]), LDS: set(), RDS: tables_of(self.held[LDS])}
        for type_url in self.asked:
            self._say(type_url)

    def ask_again(self) -> None:
        """Repeat a request, as Envoy does: it is no ACK."""
        self._say(self.random.choice([EDS, RDS]))

    def take_one(self) -> Heard | None:
        """Return the next response."""
        response = self.client.sotw.take()
        return self.client._read(response) if response else None

    def reply(self, heard: Heard, error: str = "") -> None:
        """Accept ``heard``, or refuse it for ``error``."""
        version, _ = self.last.get(heard.type_url, ("", ""))
        self.last[heard.type_url] = (version if error else heard.version, heard.nonce)
        if not error:
            self.known.add(heard.type_url)
        self._say(heard.type_url, error)

    def endpoints_wanted(self) -> None:
        """Ask for the endpoints of the clusters that there are now."""
        self._change(EDS, self.clusters())

    def routes_wanted(self) -> None:
        """Ask for the route configurations of the listeners that there are now."""
        self._change(RDS, tables_of(self.held[LDS]))

    def removes(self, heard: Heard) -> set[str]:
        """Return the names that ``heard`` takes away."""
        return self.held[heard.type_url].keys() - heard.says.keys() if heard.type_url in (CDS, LDS) else set()

    def is_known(self) -> bool:
        """Return whether the server can know what the client had before this stream: not before the first ACKs."""
        return self.streams == 1 or {CDS, LDS, RDS} <= self.known

    def _change(self, type_url: str, wanted: set[str]) -> None:
        if self.asked[type_url] != wanted:
            for name in self.asked[type_url] - wanted:
                self.lets_go(type_url, name)
            self.asked[type_url] = wanted
            self._say(type_url)

    def _say(self, type_url: str, error: str = "") -> None:
        version, nonce = self.last.get(type_url, ("", ""))
        self.client.tell(type_url, sorted(self.asked[type_url]), version, nonce, error)
