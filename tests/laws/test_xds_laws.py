"""Whatever happens in whatever order: nothing breaks on the way, and in the end the client holds what there is."""

from __future__ import annotations

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from controlplane.envoy.type_urls import CDS, EDS, LDS, RDS, VHDS
from controlplane.xds.resource import Resource
from controlplane.xds.view import Table, View, folder
from tests.support.fakes.envoy_delta import DeltaEnvoy
from tests.support.fakes.envoy_sotw import SotwEnvoy
from tests.support.fakes.resources import read
from tests.support.fakes.worlds import tables_of, world
from tests.support.fakes.xds_client import put
from tests.support.proofs import sampled

STEPS = ("change", "change badly", "move", "reconnect", "ask again", *["deliver"] * 8, *["judge"] * 8)
TYPES = (CDS, EDS, LDS, RDS, VHDS)

programs = st.lists(st.tuples(st.sampled_from(STEPS), st.integers(0, 2**32)), max_size=60)


class Server:
    """A table that becomes one world after the other, and the client that is told."""

    def __init__(self, seed: int, *, delta: bool) -> None:
        self.delta = delta
        self.table = Table("law")
        put(self.table, world(Random(seed), delta=delta))
        self.envoy = DeltaEnvoy(Random(seed), View(self.table)) if delta else SotwEnvoy(Random(seed), View(self.table))

    def run(self, step: str, seed: int) -> None:
        match step:
            case "change":
                self.become(world(Random(seed), delta=self.delta))
            case "change badly":
                self.become(world(Random(seed), delta=self.delta, bad=0.2))
            case "move":
                self.table = Table("law")
                put(self.table, world(Random(seed), delta=self.delta, bad=0.1))
                self.envoy.stream.see(View(self.table))
            case "reconnect":
                self.envoy.connect(View(self.table))
            case "ask again":
                self.envoy.ask_again()
            case "deliver":
                self.envoy.deliver()
            case _:
                self.envoy.judge(TYPES[seed % len(TYPES)])

    def become(self, resources: list[Resource]) -> None:
        wanted: dict[str, dict[str, Resource]] = {type_url: {} for type_url in TYPES}
        for each in resources:
            wanted[each.type_url][each.name] = each
        gone = {type_url: frozenset(self.table.of_type(type_url).keys() - wanted[type_url].keys()) for type_url in TYPES}
        self.envoy.stream.changed(self.table.apply(wanted, gone))

    def expected(self) -> dict[str, dict[str, int]]:
        found = {type_url: dict(read(type_url, each.value) for each in self.table.of_type(type_url).values()) for type_url in TYPES}
        asked = tables_of(found[LDS])
        found[RDS] = {name: revision for name, revision in found[RDS].items() if name in asked}
        found[VHDS] = {name: revision for name, revision in found[VHDS].items() if folder(name) in found[RDS]}
        return found


def test_every_law_has_a_server_that_can_be_reached() -> None:
    server = Server(7, delta=True)

    server.envoy.quiesce()

    expected = server.expected()
    for type_url in TYPES:
        if not (server.envoy.clashed and type_url in (CDS, EDS, VHDS)):
            assert server.envoy.held[type_url] == expected[type_url], type_url
    assert all(server.envoy.held[type_url] for type_url in (CDS, EDS))


@sampled(150)
@given(seed=st.integers(0, 2**32), program=programs, last=st.integers(0, 2**32))
def test_a_delta_client_holds_what_there_is_and_nothing_broke_on_the_way(seed: int, program: list[tuple[str, int]], last: int) -> None:
    _live(Server(seed, delta=True), program, last)


@sampled(150)
@given(seed=st.integers(0, 2**32), program=programs, last=st.integers(0, 2**32))
def test_a_sotw_client_holds_what_there_is_and_nothing_broke_on_the_way(seed: int, program: list[tuple[str, int]], last: int) -> None:
    _live(Server(seed, delta=False), program, last)


def _live(server: Server, program: list[tuple[str, int]], last: int) -> None:
    for step, seed in program:
        server.run(step, seed)

    server.become(world(Random(last), delta=server.delta))
    server.envoy.quiesce()

    expected = server.expected()
    for type_url in TYPES:
        if not (server.envoy.clashed and type_url in (CDS, EDS, VHDS)):
            assert server.envoy.held[type_url] == expected[type_url], type_url
