"""What a client asks for is counted by what is kept for it, and very many names are answered in several responses."""

from __future__ import annotations

from envoy.service.discovery.v3.discovery_pb2 import DeltaDiscoveryRequest, DeltaDiscoveryResponse

from controlplane.envoy.type_urls import CDS, EDS
from controlplane.serve.xds.requests import PIECE, names_in, pieces
from controlplane.xds.delta import DeltaStream
from controlplane.xds.resource import resource
from controlplane.xds.view import Table, View
from tests.support.control_plane import delta_request

MANY = 3 * PIECE


def some(letter: str, count: int = MANY) -> tuple[str, ...]:
    return tuple(f"{letter}-{number}" for number in range(count))


def everything_taken(stream: DeltaStream) -> list[DeltaDiscoveryResponse]:
    answers = []
    while response := stream.take():
        answers.append(answer := DeltaDiscoveryResponse.FromString(response.payload))
        stream.receive(delta_request(answer.type_url, nonce=answer.nonce))
    return answers


def test_unsubscribing_from_nothing_gives_nothing_back() -> None:
    stream = DeltaStream(View())
    request = delta_request(EDS, names=some("a", 10))
    request.resource_names_unsubscribe.extend(some("b", 1000))

    stream.receive(request)

    assert stream.size == stream.unanswered() == 10
    stream.receive(DeltaDiscoveryRequest(type_url=EDS, resource_names_unsubscribe=some("a", 4)))
    assert stream.size == stream.unanswered() == 6


def test_what_is_there_and_not_sent_yet_does_not_count() -> None:
    """Many proxies of one account that connect at once have nothing yet, and ask for no more than there is."""
    table = Table("a")
    table.apply({EDS: {name: resource(EDS, name, b"") for name in some("a", 10)}}, {})
    stream = DeltaStream(View(table))

    stream.receive(delta_request(EDS, names=(*some("a", 10), "gone")))

    assert (stream.size, stream.unanswered()) == (11, 1)


def test_versions_that_nobody_has_published_are_counted() -> None:
    stream = DeltaStream(View())

    stream.receive(
        DeltaDiscoveryRequest(type_url=CDS, resource_names_subscribe=["*"], initial_resource_versions=dict.fromkeys(some("a", 10), "1"))
    )

    assert stream.size == 10


def test_names_of_which_there_is_nothing_are_told_in_several_responses_and_what_there_is_in_the_first() -> None:
    table = Table("all")
    table.apply({EDS: {"there": resource(EDS, "there", b"")}}, {})
    stream = DeltaStream(View(table))
    stream.receive(delta_request(EDS, names=(*some("a"), "there")))

    first, *others = everything_taken(stream)

    assert [each.name for each in first.resources] == ["there"]
    assert all(len(answer.removed_resources) <= PIECE for answer in (first, *others))
    assert sorted(name for answer in (first, *others) for name in answer.removed_resources) == sorted(some("a"))


def test_a_request_in_pieces_means_what_it_means_as_a_whole() -> None:
    table = Table("all")
    table.apply({EDS: {name: resource(EDS, name, b"") for name in some("a", 10)}}, {})
    versions = {name: table.of_type(EDS)[name].version for name in some("a", 5)} | dict.fromkeys(some("c"), "1")
    first = DeltaDiscoveryRequest(
        type_url=EDS, resource_names_subscribe=["*", *some("a"), *some("c", 7)], initial_resource_versions=versions
    )
    second = DeltaDiscoveryRequest(
        type_url=EDS, resource_names_subscribe=some("d"), resource_names_unsubscribe=[*some("a", PIECE + 9), "d-1"]
    )
    whole, divided = DeltaStream(View(table)), DeltaStream(View(table))

    for request in (first, second):
        whole.receive(request)
        for piece in pieces(request):
            assert names_in(piece) <= PIECE
            divided.receive(piece)
        told = [everything_taken(stream) for stream in (whole, divided)]

        names = [sorted(each.name for answer in answers for each in answer.resources) for answers in told]
        gone = [sorted(name for answer in answers for name in answer.removed_resources) for answers in told]
        assert names[0] == names[1]
        assert gone[0] == gone[1]
        assert whole.size == divided.size
