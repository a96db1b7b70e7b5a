"""Delta: what a stream is, and what a new one takes over from the one before."""

from __future__ import annotations

import envoy_data_plane.envoy.service.discovery.v3 as independent
import pytest

from controlplane.envoy.type_urls import CDS, EDS, LDS, RDS
from controlplane.xds.events import Acked, Subscribed
from controlplane.xds.resource import Resource
from controlplane.xds.stream import BadRequest
from tests.support.fakes.resources import cluster, endpoints, listener, routes
from tests.support.fakes.xds_client import DeltaClient, Heard


def versions(*resources: Resource) -> dict[str, str]:
    return {each.name: each.version for each in resources}


def told(responses: list[Heard]) -> list[tuple[dict[str, int], tuple[str, ...]]]:
    return [(dict(each.says), each.removed) for each in responses]


def test_xp_02_an_aggregated_request_without_a_type_ends_the_stream() -> None:
    client = DeltaClient()

    with pytest.raises(BadRequest, match="type_url"):
        client.ask("")


def test_xp_02_a_request_to_a_service_of_one_type_need_not_name_it() -> None:
    client = DeltaClient(cluster("a"), only=CDS)

    [heard] = client.ask("")

    assert (heard.type_url, dict(heard.says)) == (CDS, {"a": 1})


def test_xp_03_a_service_of_one_type_refuses_another() -> None:
    client = DeltaClient(only=CDS)

    with pytest.raises(BadRequest, match="ClusterLoadAssignment"):
        client.ask(EDS)


def test_a_stream_with_hundreds_of_types_ends() -> None:
    client = DeltaClient()

    for number in range(64):
        client.ask(f"type.example/{number}", "a")

    with pytest.raises(BadRequest, match="types"):
        client.ask("type.example/64", "a")


def test_xp_08_nonces_are_unique_and_each_type_is_judged_by_its_own() -> None:
    client = DeltaClient(cluster("a"), endpoints("a"))
    [clusters] = client.ask(CDS)
    [assignments] = client.ask(EDS, "a")

    crossed = client.ask(EDS, nonce=clusters.nonce)
    client.ack(clusters)
    client.ack(assignments)

    assert crossed == []
    assert clusters.nonce != assignments.nonce
    assert [event.nonce for event in client.events if isinstance(event, Acked)] == [clusters.nonce, assignments.nonce]


def test_xp_09_a_nonce_of_an_earlier_stream_is_no_ack() -> None:
    client = DeltaClient(cluster("a"))

    [heard] = client.ask(CDS, nonce="1")

    assert heard.says == {"a": 1}
    assert [type(event) for event in client.events] == [Subscribed]


def test_xp_11_equal_content_has_equal_versions_on_every_stream() -> None:
    [one] = DeltaClient(cluster("a"), cluster("b", 2)).ask(CDS)
    [other] = DeltaClient(cluster("b", 2), cluster("a")).ask(CDS)

    assert one.versions == other.versions


def test_xp_13_an_ack_of_one_type_causes_no_message_of_another() -> None:
    client = DeltaClient(cluster("a"), endpoints("a"), listener("l"))

    responses = [*client.ask(CDS), *client.ask(EDS, "a"), *client.ask(LDS)]

    assert [each.type_url for each in responses] == [CDS, EDS, LDS]
    assert [client.ack(each) for each in responses] == [[], [], []]
    assert [client.ask(CDS, drop=["none"]), client.ask(EDS, drop=["none"])] == [[], []]


def test_xp_15_publishing_the_same_again_is_quiet() -> None:
    client = DeltaClient(cluster("a"))
    client.settle(client.ask(CDS))

    assert client.change(cluster("a")) == []


def test_xp_16_an_unknown_type_is_answered_and_disturbs_no_other() -> None:
    client = DeltaClient(cluster("a"))

    [unknown] = client.ask("type.googleapis.com/envoy.api.v2.Cluster", "a", "b")
    [heard] = client.ask(CDS)

    assert unknown.removed == ("a", "b")
    assert heard.says == {"a": 1}


def test_xp_18_what_happens_while_a_response_is_on_its_way_is_told_once_and_newest() -> None:
    client = DeltaClient(cluster("a"))
    [first] = client.ask(CDS)

    quiet = [client.change(cluster("a", revision)) for revision in range(2, 9)]
    [last] = client.ack(first)

    assert quiet == [[]] * 7
    assert last.says == {"a": 8}


def test_xp_57_on_a_new_stream_only_what_changed_is_sent_and_what_is_gone_is_removed() -> None:
    client = DeltaClient(cluster("same"), cluster("new"), cluster("changed", 2))

    [first] = client.ask(CDS, versions={**versions(cluster("same"), cluster("changed")), "gone": "0"})
    [second] = client.ack(first)

    assert told([first]) == [({"new": 1, "changed": 2}, ())]
    assert told([second]) == [({}, ("gone",))]


def test_xp_57_where_nothing_else_can_use_it_what_is_gone_is_removed_at_once() -> None:
    client = DeltaClient(cluster("a", 2), only=CDS)

    assert told(client.ask(CDS, versions={"a": "0", "gone": "0"})) == [({"a": 2}, ("gone",))]


def test_xp_57_listeners_that_are_gone_are_removed_at_once() -> None:
    client = DeltaClient()

    assert told(client.ask(LDS, versions={"gone": "0"})) == [({}, ("gone",))]


def test_xp_57_xp_77_a_cluster_that_went_while_the_client_was_away_stays_until_its_routes_are_new() -> None:
    client = DeltaClient(cluster("y"), routes("r", 2, clusters=["y"]))
    [clusters] = client.ask(CDS, versions={"x": "0"})
    [table] = client.ask(RDS, "r", versions={"r": "0"}) or client.ack(clusters)

    [removal] = client.settle([table])[1:]

    assert (clusters.says, table.says) == ({"y": 1}, {"r": 2})
    assert (removal.type_url, removal.removed) == (CDS, ("x",))


def test_xp_58_names_whose_versions_match_are_not_sent_on_a_new_stream() -> None:
    client = DeltaClient(endpoints("a"), endpoints("b", 2), endpoints("c"))

    heard = client.ask(EDS, "a", "b", "c", versions=versions(endpoints("a"), endpoints("b")))

    assert told(heard) == [({"b": 2, "c": 1}, ())]
    assert told(client.settle(heard)[1:] + client.change(endpoints("a", 3))) == [({"a": 3}, ())]


def test_xp_58_endpoints_whose_versions_match_are_sent_if_their_cluster_was() -> None:
    client = DeltaClient(cluster("same"), cluster("changed", 2), endpoints("same"), endpoints("changed"))

    client.ask(CDS, versions=versions(cluster("same"), cluster("changed")))
    heard = client.ask(EDS, "same", "changed", versions=versions(endpoints("same"), endpoints("changed")))

    assert told(heard) == [({"changed": 1}, ())]


def test_xp_58_routes_whose_versions_match_are_sent_if_their_listener_was() -> None:
    client = DeltaClient(listener("l", 2, routes=["r"]), routes("r"))

    client.ask(LDS, versions=versions(listener("l")))

    assert told(client.ask(RDS, "r", versions=versions(routes("r")))) == [({"r": 1}, ())]


def test_xp_59_versions_count_in_a_first_request_only() -> None:
    client = DeltaClient(endpoints("a"))
    client.settle(client.ask(EDS, "b"))

    assert told(client.ask(EDS, "a", versions=versions(endpoints("a")))) == [({"a": 1}, ())]


@pytest.mark.parametrize("present", [True, False])
def test_xp_60_a_first_request_for_everything_is_always_answered(*, present: bool) -> None:
    known = [cluster("a")] if present else []
    client = DeltaClient(*known)

    assert told(client.ask(CDS, versions=versions(*known))) == [({}, ())]


def test_another_protobuf_implementation_reads_the_same() -> None:
    client = DeltaClient(endpoints("a"))

    [heard] = client.ask(EDS, "a", "missing")
    message = independent.DeltaDiscoveryResponse().parse(heard.raw)
    assert message.control_plane

    assert (message.type_url, message.nonce, message.removed_resources) == (EDS, heard.nonce, ["missing"])
    assert message.control_plane.identifier == "navarch"
    [resource] = message.resources
    assert (resource.name, resource.version) == ("a", heard.versions["a"])
    assert resource.resource
    assert resource.resource.type_url == EDS
    assert resource.resource.value == endpoints("a").value
