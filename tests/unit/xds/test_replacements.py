"""The configuration of an extension that a client refuses: what it had, or a stand-in, is sent in its place, by both protocols."""

from __future__ import annotations

from dataclasses import replace

import pytest
from envoy.service.discovery.v3.discovery_pb2 import DeltaDiscoveryRequest, DiscoveryRequest
from google.rpc.status_pb2 import Status

from controlplane.envoy.type_urls import ECDS, LDS
from controlplane.xds.base_stream import BaseStream
from controlplane.xds.delta import DeltaStream
from controlplane.xds.events import Nacked
from controlplane.xds.resource import Resource, resource
from controlplane.xds.sotw import SotwStream
from controlplane.xds.stream import Progress, Response
from controlplane.xds.view import Table, View

REFUSED = Status(code=13, message="no such script")


def program(text: bytes, name: str = "one") -> Resource:
    return replace(resource(ECDS, name, text), fallback=resource(ECDS, name, b"stand-in"))


class Client:
    """A client that has asked for one extension, and says what it thinks of each response."""

    def __init__(self, stream: type[BaseStream], *published: Resource) -> None:
        self.table = Table("table")
        self.put(*published)
        self.stream = stream(View(self.table))
        self.delta = stream is DeltaStream
        self._receive(names=["one"])

    def put(self, *published: Resource) -> None:
        change = self.table.apply({ECDS: {each.name: each for each in published}}, {})
        if hasattr(self, "stream"):
            self.stream.changed(change)

    def remove(self, name: str) -> None:
        self.stream.changed(self.table.apply({}, {ECDS: frozenset((name,))}))

    def request(self, request: DeltaDiscoveryRequest) -> None:
        assert isinstance(self.stream, DeltaStream)
        self.stream.receive(request)

    def _receive(self, names: list[str], nonce: str = "", error: Status | None = None) -> tuple[object, ...]:
        if isinstance(self.stream, DeltaStream):
            first = names if not nonce else []
            return self.stream.receive(
                DeltaDiscoveryRequest(type_url=ECDS, resource_names_subscribe=first, response_nonce=nonce, error_detail=error)
            )
        assert isinstance(self.stream, SotwStream)
        return self.stream.receive(DiscoveryRequest(type_url=ECDS, resource_names=names, response_nonce=nonce, error_detail=error))

    def accept(self, response: Response) -> None:
        self._receive(["one"], response.event.nonce)

    def refuse(self, response: Response) -> Nacked:
        [event] = [each for each in self._receive(["one"], response.event.nonce, REFUSED) if isinstance(each, Nacked)]
        return event

    def next(self) -> Response:
        response = self.stream.take()
        assert response
        return response


both = pytest.mark.parametrize("stream", [DeltaStream, SotwStream])


@both
def test_a_first_configuration_that_is_refused_is_replaced_by_its_stand_in(stream: type[BaseStream]) -> None:
    bad = program(b"bad")
    client = Client(stream, bad)
    refused = client.refuse(client.next())

    stand_in = client.next()
    client.accept(stand_in)

    assert refused.final
    assert b"stand-in" in stand_in.payload
    assert client.stream.take() is None
    assert client.stream.progress(bad) is Progress.REFUSED
    assert client.stream.refuses(ECDS, "one")


@both
def test_what_was_accepted_before_is_sent_in_the_place_of_what_is_refused_until_that_changes(stream: type[BaseStream]) -> None:
    client = Client(stream, program(b"good"))
    client.accept(client.next())
    client.put(program(b"bad"))
    client.refuse(client.next())

    again = client.next()
    client.accept(again)
    client.put(program(b"better"))
    better = client.next()
    client.accept(better)

    assert b"good" in again.payload
    assert b"better" in better.payload
    assert client.stream.progress(program(b"better")) is Progress.ACCEPTED
    assert not client.stream.refuses(ECDS, "one")


@both
def test_what_is_not_there_yet_and_what_is_gone_is_answered_with_silence(stream: type[BaseStream]) -> None:
    client = Client(stream)
    before = client.stream.take()

    client.put(program(b"good"))
    came = client.next()
    client.accept(came)
    client.remove("one")

    assert before is None
    assert b"good" in came.payload
    assert client.stream.take() is None
    client.put(program(b"back"))
    assert b"back" in client.next().payload


def test_a_listener_that_was_refused_for_it_is_tried_again_once_the_stand_in_is_there() -> None:
    client = Client(DeltaStream, program(b"bad"))
    bad = client.next()
    listener = resource(LDS, "listener", b"\x0a\x08listener", uses=((ECDS, "one"),))
    client.stream.changed(client.table.apply({LDS: {"listener": listener}}, {}))
    client.request(DeltaDiscoveryRequest(type_url=LDS))
    first = client.next()
    client.refuse(bad)
    client.request(DeltaDiscoveryRequest(type_url=LDS, response_nonce=first.nonce, error_detail=REFUSED))

    client.accept(client.next())

    again = client.next()
    assert (first.type_url, again.type_url) == (LDS, LDS)
    assert b"listener" in again.payload


@both
def test_extensions_are_sent_one_by_one_as_what_is_refused_is_not_refused_a_second_time(stream: type[BaseStream]) -> None:
    client = Client(stream, program(b"good"), program(b"other", "two"))
    client.accept(client.next())
    if client.delta:
        client.request(DeltaDiscoveryRequest(type_url=ECDS, resource_names_subscribe=["two"]))
    else:
        client._receive(["one", "two"])
    client.accept(client.next())

    client.put(program(b"bad"), program(b"better", "two"))
    first = client.next()
    client.refuse(first)
    replaced = client.next()
    client.accept(replaced)
    if not client.delta:
        client._receive(["one", "two"])

    assert first.event.count == replaced.event.count == 1
    assert b"good" in replaced.payload
    assert b"better" in client.next().payload


def test_another_extension_goes_on_beside_one_that_is_refused() -> None:
    client = Client(DeltaStream, program(b"bad"))
    client.request(DeltaDiscoveryRequest(type_url=ECDS, resource_names_subscribe=["two"]))
    client.refuse(client.next())
    client.accept(client.next())

    client.put(program(b"other", "two"))

    assert b"other" in client.next().payload
