"""Whatever a client says and whatever is published: names move as the table in ``xds/channel.py`` has it."""

from __future__ import annotations

from random import Random

from envoy.service.discovery.v3.discovery_pb2 import DeltaDiscoveryRequest, DiscoveryRequest
from hypothesis import given, settings
from hypothesis import strategies as st

from controlplane.envoy.type_urls import CDS, EDS, LDS, RDS, VHDS
from controlplane.xds.channel import OF_VIRTUAL_HOSTS, TRANSITIONS, State
from controlplane.xds.delta import DeltaStream
from controlplane.xds.resource import Resource
from controlplane.xds.sotw import SotwStream
from controlplane.xds.view import Table, View
from tests.support.fakes.resources import cluster, endpoints, host, listener, routes
from tests.support.fakes.xds_client import SHARED_PLANS
from tests.support.xds_transitions import WRITERS, recorded

NAMES = {
    CDS: ("a", "b", "c"),
    EDS: ("a", "b", "c"),
    LDS: ("l", "m"),
    RDS: ("r", "s"),
    VHDS: ("r/a", "r/b", "r/c", "s/a"),
}

# What a dialogue comes to once in thousands: not asked of a few hundred.
SELDOM = {
    ("settle", State.REFUSED_TOGETHER),
    ("launch", State.REFUSED_TOGETHER),
    ("launch", State.CLEAN),  # what has a lease is renewed; these resources have none
    ("retry", State.REFUSED_ALONE),  # refused with some, then with others, then alone; then one of the first changed
}


class Dialogue:
    """A client that says anything: it asks, accepts and refuses by chance, while anything is published."""

    def __init__(self, seed: int, *, delta: bool) -> None:
        self.chance = Random(seed)
        self.delta = delta
        self.table = Table("law")
        self.connect()

    def connect(self) -> None:
        view = View(self.table)
        self.delta_stream, self.sotw_stream = DeltaStream(view, shared=SHARED_PLANS), SotwStream(view, shared=SHARED_PLANS)
        self.stream = self.delta_stream if self.delta else self.sotw_stream
        self.nonces: dict[str, str] = {}  # of responses without an answer

    def run(self, steps: int) -> None:
        actions = (self.publish, self.publish, self.ask, self.take, self.take, self.judge, self.judge)
        for _ in range(steps):
            if self.chance.random() < 0.02:
                self.connect()
            elif self.chance.random() < 0.02:
                self.move()
            else:
                self.chance.choice(actions)()

    def publish(self) -> None:
        updated: dict[str, dict[str, Resource]] = {}
        removed: dict[str, set[str]] = {}
        for _ in range(self.chance.randint(1, 4)):
            type_url = self.chance.choice(tuple(NAMES))
            name = self.chance.choice(NAMES[type_url])
            if self.chance.random() < 0.3:
                removed.setdefault(type_url, set()).add(name)
            else:
                updated.setdefault(type_url, {})[name] = self.resource(type_url, name)
        gone = {type_url: frozenset(names - updated.get(type_url, {}).keys()) for type_url, names in removed.items()}
        self.stream.changed(self.table.apply(updated, gone))

    def resource(self, type_url: str, name: str) -> Resource:
        revision, clusters = self.chance.randint(1, 3), self.chance.sample(NAMES[CDS], 1)
        match type_url:
            case _ if type_url == CDS:
                return cluster(name, revision, endpoints=name)
            case _ if type_url == EDS:
                return endpoints(name, revision)
            case _ if type_url == LDS:
                return listener(name, revision, routes=self.chance.sample(NAMES[RDS], 1), clusters=clusters)
            case _ if type_url == RDS:
                return routes(name, revision, clusters=clusters)
            case _:
                return host(name, revision, clusters=clusters, domains=self.chance.sample("xyz", self.chance.randint(1, 2)))

    def move(self) -> None:
        self.table = Table("law")
        self.publish()
        self.stream.see(View(self.table))

    def ask(self) -> None:
        type_url = self.chance.choice(tuple(NAMES))
        self.say(type_url, "", refuse=False, names=self.some(type_url), versions=self.chance.random() < 0.5)

    def judge(self) -> None:
        if self.nonces:
            type_url = self.chance.choice(sorted(self.nonces))
            names = self.some(type_url) if not self.delta or self.chance.random() < 0.1 else []
            self.say(type_url, self.nonces.pop(type_url), refuse=self.chance.random() < 0.5, names=names, versions=False)

    def take(self) -> None:
        if response := self.stream.take():
            self.nonces[response.type_url] = response.nonce

    def some(self, type_url: str) -> list[str]:
        names = [name for name in NAMES[type_url] if self.chance.random() < 0.6]
        return [*names, "*"] if self.chance.random() < 0.1 else names

    def say(self, type_url: str, nonce: str, *, refuse: bool, names: list[str], versions: bool) -> None:
        request: DeltaDiscoveryRequest | DiscoveryRequest
        if self.delta:
            is_drop = self.chance.random() < 0.3
            request = DeltaDiscoveryRequest(
                type_url=type_url,
                response_nonce=nonce,
                resource_names_subscribe=[] if is_drop else names,
                resource_names_unsubscribe=names if is_drop else [],
                initial_resource_versions=dict.fromkeys(NAMES[type_url][:2], "1") if versions else {},
            )
        else:
            request = DiscoveryRequest(type_url=type_url, response_nonce=nonce, resource_names=names, version_info="1" if versions else "")
        if refuse:
            request.error_detail.code = 13
        if isinstance(request, DeltaDiscoveryRequest):
            self.delta_stream.receive(request)
        else:
            self.sotw_stream.receive(request)


@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 2**32), delta=st.booleans())
def test_names_move_only_as_the_table_has_it(seed: int, delta: bool) -> None:  # noqa: FBT001 (Hypothesis gives it by name)
    with recorded():
        Dialogue(seed, delta=delta).run(100)


def test_every_state_of_the_table_is_left_and_reached_by_every_method_of_its_row() -> None:
    with recorded() as recorder:
        for seed in range(400):
            Dialogue(seed, delta=seed % 2 == 0).run(150)

    moves = [(method, before, after) for method, row in TRANSITIONS.items() for before, afters in row.items() for after in afters]
    left, reached = {(method, before) for method, before, _ in recorder.steps}, {(method, after) for method, _, after in recorder.steps}
    assert {(method, before) for method, before, _ in moves} - left <= SELDOM
    assert {(method, after) for method, _, after in moves} - reached <= SELDOM


def test_the_table_names_methods_of_the_one_writer() -> None:
    assert TRANSITIONS.keys() | OF_VIRTUAL_HOSTS.keys() <= set(WRITERS)
