"""SotW: what a stream is, what its versions and nonces mean, and what a new one takes over."""

from __future__ import annotations

import envoy_data_plane.envoy.service.discovery.v3 as independent
import pytest

from controlplane.envoy.type_urls import CDS, EDS, LDS
from controlplane.xds.events import Acked, Subscribed
from controlplane.xds.stream import BadRequest
from tests.support.fakes.resources import cluster, endpoints, listener
from tests.support.fakes.xds_client import Heard, SotwClient


def told(responses: list[Heard]) -> list[dict[str, int]]:
    return [dict(each.says) for each in responses]


def test_xp_02_an_aggregated_request_without_a_type_ends_the_stream() -> None:
    client = SotwClient()

    with pytest.raises(BadRequest, match="type_url"):
        client.ask("")


def test_xp_02_xp_03_a_service_of_one_type_need_not_be_told_it_and_refuses_another() -> None:
    client = SotwClient(cluster("a"), only=CDS)

    [heard] = client.ask("")

    assert (heard.type_url, dict(heard.says)) == (CDS, {"a": 1})
    with pytest.raises(BadRequest, match="Listener"):
        client.ask(LDS)


def test_xp_08_nonces_are_unique_and_each_type_is_judged_by_its_own() -> None:
    client = SotwClient(cluster("a"), endpoints("a"))
    [clusters] = client.ask(CDS)
    [assignments] = client.ask(EDS, "a")

    client.say(EDS, ["a"], nonce=clusters.nonce)
    client.ack(clusters)

    assert clusters.nonce != assignments.nonce
    assert [event.type_url for event in client.events if isinstance(event, Acked)] == [CDS]


def test_xp_09_a_nonce_of_an_earlier_stream_is_a_first_request() -> None:
    client = SotwClient(endpoints("a"))

    [heard] = client.say(EDS, ["a"], version="older", nonce="1")

    assert heard.says == {"a": 1}
    assert [type(event) for event in client.events] == [Subscribed]


def test_xp_10_the_version_is_a_property_of_the_content() -> None:
    [one] = SotwClient(cluster("a"), cluster("b", 2)).ask(CDS)
    [other] = SotwClient(cluster("b", 2), cluster("a")).ask(CDS)
    [different] = SotwClient(cluster("a"), cluster("b", 3)).ask(CDS)
    [swapped] = SotwClient(cluster("a", 2), cluster("b")).ask(CDS)

    assert one.version == other.version
    assert len({one.version, different.version, swapped.version}) == 3


def test_xp_10_the_version_comes_back_with_the_content() -> None:
    client = SotwClient(cluster("a"))
    [first] = client.ask(CDS)
    client.ack(first)

    [second] = client.change(cluster("b"))
    client.ack(second)
    [third] = client.change(gone=[(CDS, "b")])

    assert first.version == third.version != second.version


def test_xp_15_publishing_the_same_again_is_quiet() -> None:
    client = SotwClient(cluster("a"))
    client.settle(client.ask(CDS))

    assert client.change(cluster("a")) == []


def test_xp_16_an_unknown_type_is_quiet_and_disturbs_no_other() -> None:
    client = SotwClient(cluster("a"))

    assert client.ask("type.googleapis.com/envoy.api.v2.Cluster", "a") == []
    assert told(client.ask(CDS)) == [{"a": 1}]


def test_xp_18_what_happens_while_a_response_is_on_its_way_is_told_once_and_newest() -> None:
    client = SotwClient(cluster("a"))
    [first] = client.ask(CDS)

    quiet = [client.change(cluster("a", revision)) for revision in range(2, 9)]

    assert quiet == [[]] * 7
    assert told(client.ack(first)) == [{"a": 8}]


def test_xp_25_an_ack_is_quiet() -> None:
    client = SotwClient(cluster("a"))
    [heard] = client.ask(CDS)

    assert client.ack(heard) == []
    assert [type(event) for event in client.events] == [Subscribed, Acked]


def test_xp_29_an_old_nonce_is_quiet() -> None:
    client = SotwClient(endpoints("a"))
    [first] = client.ask(EDS, "a")
    client.ack(first)
    [second] = client.change(endpoints("a", 2))

    assert client.say(EDS, ["a"], first.version, first.nonce) == []
    assert client.ack(second) == []


def test_xp_30_names_in_a_request_with_an_old_nonce_are_not_lost() -> None:
    client = SotwClient(endpoints("a"), endpoints("b"))
    [first] = client.ask(EDS, "a")
    client.ack(first)
    [second] = client.change(endpoints("a", 2))

    client.say(EDS, ["a", "b"], first.version, first.nonce)

    assert told(client.say(EDS, ["a", "b"], second.version, second.nonce)) == [{"b": 1}]


def test_xp_41_the_same_request_for_endpoints_after_a_cluster_is_neither_stuck_nor_answered_twice() -> None:
    client = SotwClient(cluster("a"), endpoints("a"))
    client.settle(client.ask(CDS))
    [before] = client.settle(client.ask(EDS, "a"))

    clusters, assignments = client.change(cluster("a", 2))
    repeated = client.say(EDS, ["a"], before.version, before.nonce)  # Envoy does, and it is no ACK

    assert told([clusters, assignments]) == [{"a": 2}, {"a": 1}]
    assert repeated == []
    assert client.ack(assignments) == client.ack(clusters) == []


def test_xp_42_a_returning_client_is_answered_as_it_may_have_kept_more_than_it_says() -> None:
    [before] = SotwClient(cluster("a")).ask(CDS)

    [heard] = SotwClient(cluster("a")).say(CDS, [], before.version)

    assert (heard.says, heard.version) == ({"a": 1}, before.version)


def test_xp_42_a_returning_client_gets_the_names_that_it_asks_for() -> None:
    [before] = SotwClient(endpoints("a")).ask(EDS, "a")

    assert told(SotwClient(endpoints("a")).say(EDS, ["a"], before.version)) == [{"a": 1}]


def test_xp_42_a_returning_client_with_other_clusters_gets_all() -> None:
    assert told(SotwClient(cluster("a")).say(CDS, [], "0123")) == [{"a": 1}]


def test_xp_44_a_type_that_was_not_asked_for_is_not_sent() -> None:
    client = SotwClient(cluster("a"), endpoints("a"), listener("l"))

    heard = client.settle(client.ask(CDS))
    heard += client.settle(client.change(cluster("a", 2), endpoints("a", 2), listener("l", 2)))

    assert {each.type_url for each in heard} == {CDS}


def test_another_protobuf_implementation_reads_the_same() -> None:
    [heard] = SotwClient(cluster("a")).ask(CDS)

    message = independent.DiscoveryResponse().parse(heard.raw)
    assert message.control_plane

    assert (message.type_url, message.nonce, message.version_info) == (CDS, heard.nonce, heard.version)
    assert message.control_plane.identifier == "navarch"
    assert [(each.type_url, each.value) for each in message.resources] == [(CDS, cluster("a").value)]
