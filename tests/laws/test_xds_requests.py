"""Whatever a client asks for in whatever words: it gets what its words mean, and no request is a fault of ours."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from controlplane.envoy.type_urls import CDS, EDS, LDS, RDS, SDS, VHDS
from controlplane.xds.resource import Resource
from tests.support.fakes.resources import cluster, endpoints, host, listener, routes, secret
from tests.support.fakes.xds_client import DeltaClient, Heard, SotwClient
from tests.support.proofs import sampled

names = st.sampled_from(["a", "b", "c", "*", "", "r/a"])
lists = st.lists(names, max_size=3)
makers = {CDS: cluster, EDS: endpoints, SDS: secret, LDS: listener, RDS: routes, VHDS: host}
everything = [make(name) for make in makers.values() for name in ("a", "b", "c")]


@dataclass(frozen=True)
class Ask:
    """A request; ``judges``: it accepts what is on its way."""

    type_url: str
    add: list[str]
    drop: list[str]
    judges: bool
    versions: dict[str, str]


@dataclass(frozen=True)
class Change:
    """A resource in a revision; 0: it is gone."""

    type_url: str
    name: str
    revision: int


types = st.sampled_from([CDS, CDS, EDS, *makers, "type.example/unknown"])
requests = st.builds(Ask, types, lists, lists, st.booleans(), st.dictionaries(names, st.just("0")))
changes = st.builds(Change, st.sampled_from(list(makers)), st.sampled_from(["a", "b", "c", "r/a"]), st.integers(0, 2))
steps = st.lists(st.one_of(requests, changes), max_size=40)


def publish(client: DeltaClient | SotwClient, type_url: str, name: str, revision: int) -> list[Heard]:
    if revision:
        return client.change(makers[type_url](name, revision))
    return client.change(gone=[(type_url, name)])


def published(client: DeltaClient | SotwClient, type_url: str) -> dict[str, Resource]:
    return dict(client.table.of_type(type_url))


class Asked:
    """What a client of Delta has asked for, and what it was told, in the plainest words of the specification."""

    def __init__(self) -> None:
        self.names: dict[str, set[str]] = {}
        self.told: dict[str, dict[str, str]] = {}

    def ask(self, type_url: str, add: list[str], drop: list[str]) -> None:
        first = type_url not in self.names
        names = self.names.setdefault(type_url, set())
        if first and not add and not drop and type_url in (CDS, LDS, VHDS):
            names.add("*")
        names -= set(drop)
        names |= set(add)
        if "*" not in names:
            self.told[type_url] = {name: version for name, version in self.told.get(type_url, {}).items() if name in names}

    def hear(self, heard: Heard) -> None:
        told = self.told.setdefault(heard.type_url, {})
        told.update(heard.versions)
        for name in heard.removed:
            told.pop(name, None)


@sampled(200)
@given(program=steps)
def test_a_delta_client_has_been_told_the_newest_of_all_that_it_asks_for(program: list[Ask | Change]) -> None:
    client, asked, waiting = DeltaClient(*everything), Asked(), dict[str, Heard]()

    def listen(heard: list[Heard]) -> None:
        for each in heard:
            assert each.type_url not in waiting, "two responses of a type on their way"
            waiting[each.type_url] = each
            asked.hear(each)

    for step in program:
        match step:
            case Ask(type_url, add, drop, judges, versions):
                first = type_url not in asked.names
                asked.ask(type_url, add, drop)
                judged = waiting.pop(type_url, None) if judges else None
                listen(client.ask(type_url, *add, drop=drop, versions=versions if not first else {}, nonce=judged.nonce if judged else "x"))
            case Change(type_url, name, revision):
                listen(publish(client, type_url, name, revision))
    while waiting:
        listen(client.ack(waiting.pop(next(iter(waiting)))))

    for type_url, wanted in asked.names.items():
        if type_url in makers and type_url != VHDS:
            there = {name: each.version for name, each in published(client, type_url).items() if "*" in wanted or name in wanted}
            assert asked.told.get(type_url, {}) == there, type_url


@sampled(200)
@given(program=steps)
def test_a_sotw_client_has_been_told_the_newest_of_all_that_it_asks_for(program: list[Ask | Change]) -> None:
    client = SotwClient(*everything)
    waiting: dict[str, Heard] = {}
    told: dict[str, dict[str, int]] = {}
    asked: dict[str, tuple[set[str], bool]] = {}  # names last asked for, and whether there ever were any

    def listen(heard: list[Heard]) -> None:
        for each in heard:
            assert each.type_url not in waiting, "two responses of a type on their way"
            waiting[each.type_url] = each
            if each.type_url in (CDS, LDS):
                told[each.type_url] = dict(each.says)
            else:
                told.setdefault(each.type_url, {}).update(each.says)

    for step in program:
        match step:
            case Ask(type_url, add, _, judges):
                ever = bool(add) or asked.get(type_url, (set(), False))[1]
                asked[type_url] = set(add), ever
                judged = waiting.pop(type_url, None) if judges else None
                listen(client.say(type_url, add, "", judged.nonce if judged else ""))
                client.names[type_url] = tuple(add)
            case Change(type_url, name, revision):
                listen(publish(client, type_url, name, revision))
    while waiting:
        listen(client.ack(waiting.pop(next(iter(waiting)))))

    for type_url, (wanted, ever) in asked.items():
        whole = "*" in wanted or (type_url in (CDS, LDS) and not ever)
        if type_url in makers:
            there = {name for name in published(client, type_url) if whole or name in wanted}
            known = told.get(type_url, {})
            assert {name: known.get(name) for name in there} == {name: _revision(client, type_url, name) for name in there}, type_url


def _revision(client: SotwClient, type_url: str, name: str) -> int:
    for revision in (1, 2):
        if published(client, type_url)[name] == makers[type_url](name, revision):
            return revision
    raise AssertionError(name)
