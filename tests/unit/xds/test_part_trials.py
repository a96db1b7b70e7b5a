"""One bad virtual host in a table that is sent whole, in either protocol: the others reach the client, and so do their later changes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import TypeAlias

import pytest
from envoy.config.route.v3.route_pb2 import RouteConfiguration
from envoy.service.discovery.v3.discovery_pb2 import DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse

from controlplane.envoy.type_urls import RDS
from controlplane.xds.delta import DeltaStream
from controlplane.xds.events import Acked, Event, Nacked
from controlplane.xds.resource import Assembly, Part, Resource, assembled, field
from controlplane.xds.sotw import SotwStream
from controlplane.xds.stream import Progress
from controlplane.xds.view import Table, View

BAD = "bad"
UNAVAILABLE = "503"


def body(text: str) -> bytes:
    """Return the body of a virtual host that answers ``text``: a route of that name."""
    return field(3, field(14, text.encode()))


def table(hosts: Mapping[str, str]) -> Resource:
    parts = [
        Part(name, field(1, name.encode()) + field(2, name.encode()), body(text), exclusive=frozenset({name}))
        for name, text in sorted(hosts.items())
    ]
    return assembled(RDS, "80", Assembly(field(1, b"80"), tuple(parts), b"", body(UNAVAILABLE)))


class Client(ABC):
    """An Envoy that refuses a table with a virtual host that says ``bad``, or any of ``also_bad``."""

    stream: SotwStream | DeltaStream

    def __init__(self, hosts: Mapping[str, str], also_bad: Iterable[str] = ()) -> None:
        self.published = Table("all")
        self.published.apply({RDS: {"80": table(hosts)}}, {})
        self.bad = {BAD, *also_bad}
        self.has: Mapping[str, str] = {}
        self.seen: list[Mapping[str, str]] = []
        self.events: list[Event] = []

    @abstractmethod
    def connect(self, *, again: bool = False) -> None:
        """Ask for the table; ``again``: as a client does that has it from an earlier stream."""

    @abstractmethod
    def answer(self) -> None:
        """Take what there is, until there is nothing more."""

    def publish(self, hosts: Mapping[str, str]) -> None:
        self.stream.changed(self.published.apply({RDS: {"80": table(hosts)}}, {}))
        self.answer()

    def at_fault(self) -> tuple[str, ...]:
        """Return what was blamed last."""
        return next(event.at_fault for event in reversed(self.events) if isinstance(event, Nacked) and event.at_fault)

    def refuses(self, value: bytes) -> bool:
        """Return whether the table ``value`` is refused; else it is taken."""
        hosts = {host.name: host.routes[0].name for host in RouteConfiguration.FromString(value).virtual_hosts}
        if self.bad & set(hosts.values()):
            return True
        self.has = hosts
        self.seen.append(hosts)
        return False


class SotwClient(Client):
    """One that speaks the state of the world."""

    stream: SotwStream

    def connect(self, *, again: bool = False) -> None:
        self.stream = SotwStream(View(self.published))
        self.stream.receive(DiscoveryRequest(type_url=RDS, resource_names=["80"], version_info="older" if again else ""))
        self.answer()

    def answer(self) -> None:
        while response := self.stream.take():
            message = DiscoveryResponse.FromString(response.payload)
            answer = DiscoveryRequest(type_url=RDS, resource_names=["80"], response_nonce=message.nonce)
            [packed] = message.resources
            if self.refuses(packed.value):
                answer.error_detail.message = "no"
            self.events += self.stream.receive(answer)


class DeltaClient(Client):
    """One that speaks Delta, and takes no VHDS."""

    stream: DeltaStream

    def connect(self, *, again: bool = False) -> None:
        self.stream = DeltaStream(View(self.published))
        has = {"80": "older"} if again else {}
        self.stream.receive(DeltaDiscoveryRequest(type_url=RDS, resource_names_subscribe=["80"], initial_resource_versions=has))
        self.answer()

    def answer(self) -> None:
        while response := self.stream.take():
            message = DeltaDiscoveryResponse.FromString(response.payload)
            answer = DeltaDiscoveryRequest(type_url=RDS, response_nonce=message.nonce)
            [sent] = message.resources
            if self.refuses(sent.resource.value):
                answer.error_detail.message = "no"
            self.events += self.stream.receive(answer)


NewClient: TypeAlias = type[SotwClient] | type[DeltaClient]


@pytest.fixture(params=[SotwClient, DeltaClient], ids=["sotw", "delta"])
def new_client(request: pytest.FixtureRequest) -> NewClient:
    found: NewClient = request.param
    return found


def good(count: int, text: str = "good") -> dict[str, str]:
    return {f"h{number:03}": f"{text}{number}" for number in range(count)}


@pytest.mark.parametrize("count", [1, 2, 15, 100])
def test_a_bad_edit_stays_as_it_was_and_its_neighbours_go_on(new_client: NewClient, count: int) -> None:
    hosts = good(count)
    client = new_client(hosts | {"x": "fine"})
    client.connect()

    client.publish(hosts | {"x": BAD})
    client.publish(hosts | {"x": BAD, "h000": "edited"})

    assert client.has == hosts | {"x": "fine", "h000": "edited"}
    assert client.at_fault() == ("80/x",)
    assert client.stream.refuses(RDS, "80/x")
    assert not client.stream.refuses(RDS, "80/h000")


def test_many_changes_at_once_are_told_apart(new_client: NewClient) -> None:
    client = new_client(good(100) | {"x": "fine", "y": "fine"})
    client.connect()

    client.publish(good(100, "edited") | {"x": BAD, "y": BAD})

    assert client.has == good(100, "edited") | {"x": "fine", "y": "fine"}
    assert all(hosts["h000"] in ("good0", "edited0") for hosts in client.seen)


def test_what_is_mended_is_sent_and_blamed_no_more(new_client: NewClient) -> None:
    client = new_client(good(3) | {"x": "fine"})
    client.connect()
    client.publish(good(3) | {"x": BAD})

    client.publish(good(3) | {"x": "mended"})

    assert client.has == good(3) | {"x": "mended"}
    assert not client.stream.refuses(RDS, "80/x")
    assert [event.without for event in client.events if isinstance(event, Acked)][-1] == ()


def test_a_new_virtual_host_that_is_bad_answers_503(new_client: NewClient) -> None:
    client = new_client(good(3))
    client.connect()

    client.publish(good(3) | {"x": BAD})

    assert client.has == good(3) | {"x": UNAVAILABLE}


@pytest.mark.parametrize("count", [1, 3, 100])
@pytest.mark.parametrize("again", [False, True], ids=["new", "from an earlier stream"])
def test_a_client_whose_table_is_not_known_is_sent_all_but_the_bad_one(new_client: NewClient, count: int, *, again: bool) -> None:
    client = new_client(good(count) | {"x": BAD})

    client.connect(again=again)

    assert client.has == good(count) | {"x": UNAVAILABLE}
    assert client.at_fault() == ("80/x",)


def test_nothing_is_taken_from_such_a_client_by_trying_but_what_stands_beside_the_bad_one(new_client: NewClient) -> None:
    client = new_client(good(160) | {"x": BAD})

    client.connect(again=True)

    assert all(list(hosts.values()).count(UNAVAILABLE) <= 11 for hosts in client.seen)


def test_two_bad_ones_are_found_there_too(new_client: NewClient) -> None:
    client = new_client(good(40) | {"a": BAD, "x": BAD})

    client.connect()

    assert client.has == good(40) | {"a": UNAVAILABLE, "x": UNAVAILABLE}


def test_a_virtual_host_that_is_refused_even_so_is_left_out(new_client: NewClient) -> None:
    client = new_client(good(3), also_bad=[UNAVAILABLE])
    client.connect()

    client.publish(good(3) | {"x": BAD})

    assert client.has == good(3)


def test_a_client_that_refuses_everything_is_not_asked_without_end(new_client: NewClient) -> None:
    client = new_client(good(3), also_bad=[UNAVAILABLE, *good(3).values()])

    client.connect()

    assert client.has in ({}, good(0))
    assert len(client.events) < 250


def test_how_far_an_object_of_the_table_has_come_depends_on_the_object(new_client: NewClient) -> None:
    client = new_client(good(3) | {"x": "fine"})
    client.connect()
    client.publish(good(3) | {"x": BAD})

    progress = client.stream.progress(table(good(3) | {"x": BAD}))

    assert progress is Progress.PARTLY
