"""A model of Envoy as a client of xDS: it applies what it accepts, keeps what it had when it refuses, and asks as Envoy asks.

It checks at every response what a server must never do, and after quiescence it holds what it accepted, to be compared.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from random import Random

from controlplane.envoy.type_urls import CDS, EDS, LDS, RDS, VHDS
from controlplane.xds.delta import DeltaStream
from controlplane.xds.sotw import SotwStream
from controlplane.xds.view import folder
from tests.support.fakes.worlds import clusters_of, domain, is_bad, tables_of
from tests.support.fakes.xds_client import Heard

_USERS = (LDS, RDS, VHDS)


class EnvoyModel:
    """What is the same whichever protocol it speaks."""

    def __init__(self, random: Random) -> None:
        """Begin with nothing; ``random`` decides what Envoy leaves open."""
        self.random = random
        self.held: dict[str, dict[str, int]] = {type_url: {} for type_url in (CDS, EDS, LDS, RDS, VHDS)}
        self.versions: dict[str, dict[str, str]] = {type_url: {} for type_url in self.held}
        self.inbox: dict[str, Heard] = {}
        self.refused: set[tuple[str, str]] = set()  # alone, and never accepted
        self.warming: set[str] = set()  # clusters whose endpoints have not come since
        self.unanswered: set[tuple[str, str]] = set()
        self.kept: set[str] = set()  # clusters of a whole response that was refused: not to be counted on
        self.streams = 0
        self.clashed = False

    repeats = False  # a response says also what is known: what is new in it cannot be told

    @property
    def stream(self) -> DeltaStream | SotwStream:
        raise NotImplementedError

    def take_one(self) -> Heard | None:
        """Return the next response."""
        raise NotImplementedError

    def reply(self, heard: Heard, error: str = "") -> None:
        """Accept ``heard``, or refuse it for ``error``."""
        raise NotImplementedError

    def endpoints_wanted(self) -> None:
        """Ask for the endpoints of the clusters that there are now."""
        raise NotImplementedError

    def routes_wanted(self) -> None:
        """Ask for the route configurations of the listeners that there are now."""
        raise NotImplementedError

    def removes(self, heard: Heard) -> set[str]:
        """Return the names that ``heard`` takes away."""
        raise NotImplementedError

    def is_known(self) -> bool:
        """Return whether the server can know what the client had before this stream."""
        raise NotImplementedError

    def wants(self, type_url: str, name: str) -> bool:
        """Return whether the client has a use for ``name`` of ``type_url``."""
        match type_url:
            case _ if type_url == EDS:
                return name in self.clusters()
            case _ if type_url == RDS:
                return name in tables_of(self.held[LDS])
            case _ if type_url == VHDS:
                return folder(name) in self.held[RDS]
            case _:
                return True

    def deliver(self) -> bool:
        """Receive one response; return whether there was one."""
        heard = self.take_one()
        if heard is None:
            return False
        assert heard.type_url not in self.inbox, "two responses of a type on their way"
        self._check(heard)
        self.inbox[heard.type_url] = heard
        self.unanswered -= {(heard.type_url, name) for name in (*heard.says, *heard.removed)}
        if heard.type_url == CDS:
            self.warming |= {name for name, revision in heard.says.items() if not is_bad(revision) and self._is_new(name, revision)}
            self.endpoints_wanted()
        if heard.type_url == EDS:
            self.warming -= {*heard.says, *heard.removed}
        return True

    def judge(self, type_url: str) -> bool:
        """Accept or refuse the response of ``type_url`` that was received; return whether there was one that could be judged."""
        heard = self.inbox.get(type_url)
        if heard is None or (type_url == CDS and self.warming & heard.says.keys()):
            return False  # Envoy accepts clusters when they are warm
        if type_url == VHDS and RDS in self.inbox:
            return False  # which came before
        del self.inbox[type_url]
        bad = [name for name, revision in heard.says.items() if is_bad(revision)]
        if type_url == VHDS and not bad and self._clashes(heard):
            assert self.streams > 1, "two hosts of a table share a domain"
            self.clashed = True  # the server cannot know what domains the client has from an earlier stream
            bad = list(heard.says)
        if not bad:
            self.kept -= heard.says.keys() if type_url == CDS else set()
            self._apply(heard, heard.says)
            self._dependents(type_url)
            self.reply(heard)
            return True
        if len(self._news(heard)) == 1 or (self.repeats and len(bad) == 1):
            self.refused.update((type_url, name) for name in bad if name not in self.held[type_url])
        if type_url in (CDS, LDS) and self.random.random() < 0.5:  # Envoy applies the good ones of these
            if self.repeats and type_url == CDS:
                self.kept |= heard.says.keys() - self.held[CDS].keys()
            self._apply(heard, {name: revision for name, revision in heard.says.items() if name not in bad})
        self.warming -= heard.says.keys() - self.held[CDS].keys() if type_url == CDS else set()
        self._dependents(type_url)
        self.reply(heard, f"cannot stand {bad}")
        return True

    def quiesce(self) -> None:
        """Receive and judge until nothing is left."""
        for _ in range(10_000):
            moved = self.deliver()
            for type_url in list(self.inbox):
                moved |= self.judge(type_url)
            if not moved:
                break
        assert not self.inbox, f"stuck: {self.inbox.keys()}, warming {self.warming}"
        assert not self.stream.has_work
        assert not self.unanswered

    def lose(self) -> None:
        """Lose the stream, and what was on it."""
        self.streams += 1
        self.inbox.clear()
        self.warming.clear()
        self.unanswered.clear()
        for type_url, held in self.held.items():
            for name in [name for name in held if not self.wants(type_url, name)]:
                del held[name]

    def lets_go(self, type_url: str, name: str) -> None:
        """Drop ``name``, also if it is just coming."""
        self.held[type_url].pop(name, None)
        if heard := self.inbox.get(type_url):
            self.inbox[type_url] = replace(heard, says={each: revision for each, revision in heard.says.items() if each != name})

    def _news(self, heard: Heard) -> set[str]:
        fresh = {name for name, revision in heard.says.items() if self._is_new(name, revision, heard.type_url)}
        return fresh | set(heard.removed)

    def _is_new(self, name: str, revision: int, type_url: str = CDS) -> bool:
        return self.held[type_url].get(name) != revision

    def _apply(self, heard: Heard, good: dict[str, int] | Iterable[str]) -> None:
        held, versions = self.held[heard.type_url], self.versions[heard.type_url]
        for name in self.removes(heard):
            held.pop(name, None)
            versions.pop(name, None)
        for name in filter(lambda name: self.wants(heard.type_url, name), good):  # what nobody asks for is ignored
            held[name] = heard.says[name]
            versions[name] = heard.versions.get(name, "")
            self.refused.discard((heard.type_url, name))

    def _clashes(self, heard: Heard) -> bool:
        after = {name: revision for name, revision in self.held[VHDS].items() if name not in heard.removed} | dict(heard.says)
        domains = [domain(name, revision) for name, revision in after.items()]
        return len(domains) != len(set(domains))

    def _dependents(self, type_url: str) -> None:
        if type_url == CDS:
            self.endpoints_wanted()
        if type_url == LDS:
            self.routes_wanted()

    def _check(self, heard: Heard) -> None:
        if heard.type_url in _USERS and self.is_known():
            for name, revision in heard.says.items():
                for used in clusters_of(heard.type_url, revision):
                    first = name not in self.held[heard.type_url]
                    accepted = used in self.held[CDS] or (first and (CDS, used) in self.refused)
                    assert accepted or not self._is_new(name, revision, heard.type_url), f"{name} uses {used} before it was accepted"
        if heard.type_url == VHDS:
            tables = self.held[RDS].keys() | (self.inbox[RDS].says.keys() if RDS in self.inbox else set())
            assert {folder(name) for name in heard.says} <= tables, "a host before its table"
        if heard.type_url == CDS and self.is_known():
            using = [(each, self.held[each]) for each in _USERS] + [(each, self.inbox[each].says) for each in _USERS if each in self.inbox]
            for type_url, says in using:
                for name, revision in says.items():
                    broken = self.removes(heard) & set(clusters_of(type_url, revision)) & (self.held[CDS].keys() - self.kept)
                    assert not broken, f"{broken} removed while {name} uses it"

    def clusters(self) -> set[str]:
        """Return the clusters that there are, and those on their way in."""
        coming = self.inbox[CDS].says if CDS in self.inbox else {}
        return self.held[CDS].keys() | {name for name, revision in coming.items() if not is_bad(revision)}
