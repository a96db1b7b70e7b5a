"""Delta: what is asked for, and what is answered."""

from __future__ import annotations

import envoy_data_plane.envoy.service.discovery.v3 as independent
import pytest

from controlplane.envoy.type_urls import CDS, EDS, LDS, RDS, SDS
from controlplane.xds.events import Acked, Subscribed
from controlplane.xds.resource import Resource
from controlplane.xds.stream import BadRequest
from tests.fakes.resources import cluster, endpoints, listener, routes, secret
from tests.fakes.xds_client import DeltaClient, Heard


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


@pytest.mark.parametrize("type_url", [LDS, CDS])
def test_xp_45_no_names_at_first_or_a_star_mean_everything(type_url: str) -> None:
    client, starred = DeltaClient(cluster("a"), listener("a")), DeltaClient(cluster("a"), listener("a"))

    assert told(client.ask(type_url)) == told(starred.ask(type_url, "*")) == [({"a": 1}, ())]


@pytest.mark.parametrize("type_url", [EDS, RDS, SDS])
def test_xp_24_no_names_at_first_mean_nothing_for_other_types(type_url: str) -> None:
    client = DeltaClient(endpoints("a"), routes("a"), secret("a"))

    assert client.ask(type_url) == []
    assert client.change(endpoints("a", 2), routes("a", 2), secret("a", 2)) == []


def test_xp_46_everything_then_a_name_then_only_the_name_then_nothing() -> None:
    client = DeltaClient(cluster("A"), cluster("B"))
    client.settle(client.ask(CDS))

    named = client.settle(client.ask(CDS, "A"))
    both = client.settle(client.change(cluster("A", 2), cluster("B", 2)))
    client.settle(client.ask(CDS, drop=["*"]))
    one = client.settle(client.change(cluster("A", 3), cluster("B", 3)))
    client.settle(client.ask(CDS, drop=["A"]))
    none = client.change(cluster("A", 4), cluster("B", 4))
    never = client.ask(CDS)

    assert told(named) == [({"A": 1}, ())]
    assert told(both) == [({"A": 2, "B": 2}, ())]
    assert told(one) == [({"A": 3}, ())]
    assert none == never == []


def test_xp_47_empty_lists_change_nothing() -> None:
    client = DeltaClient(endpoints("a"))
    client.settle(client.ask(EDS, "a"))

    assert client.ask(EDS) == []
    assert told(client.change(endpoints("a", 2))) == [({"a": 2}, ())]


def test_xp_48_one_of_many_changes_alone() -> None:
    client = DeltaClient(*(cluster(f"c{number}") for number in range(100)))
    client.settle(client.ask(CDS))

    assert told(client.change(cluster("c42", 2))) == [({"c42": 2}, ())]


def test_xp_49_what_is_deleted_is_removed_once_and_sent_when_it_comes_again() -> None:
    client = DeltaClient(endpoints("a"))
    client.settle(client.ask(EDS, "a"))

    gone = client.settle(client.change(gone=[(EDS, "a")]))
    quiet = client.change(endpoints("b"))
    again = client.settle(client.change(endpoints("a")))

    assert told(gone) == [({}, ("a",))]
    assert quiet == []
    assert told(again) == [({"a": 1}, ())]


def test_xp_50_an_unknown_name_is_answered_at_once_and_kept() -> None:
    client = DeltaClient()

    missing = client.settle(client.ask(EDS, "a"))
    created = client.change(endpoints("a"))

    assert told(missing) == [({}, ("a",))]
    assert told(created) == [({"a": 1}, ())]


def test_xp_51_what_is_asked_for_again_is_sent_again() -> None:
    client = DeltaClient(cluster("a"), cluster("b"), endpoints("a"))
    client.settle([*client.ask(EDS, "a"), *client.ask(CDS)])

    assert told(client.settle(client.ask(EDS, "a"))) == [({"a": 1}, ())]
    assert told(client.settle(client.ask(CDS, "*")))[:1] == [({"a": 1, "b": 1}, ())]


def test_xp_52_what_is_dropped_is_not_updated_and_a_phantom_is_no_error() -> None:
    client = DeltaClient(endpoints("a"), endpoints("b"))
    client.settle(client.ask(EDS, "a", "b"))

    assert client.ask(EDS, drop=["b", "phantom"]) == []
    assert told(client.change(endpoints("a", 2), endpoints("b", 2))) == [({"a": 2}, ())]


def test_xp_53_dropping_a_name_that_everything_has_too_is_answered() -> None:
    client = DeltaClient(cluster("a"))
    client.settle(client.ask(CDS, "*", "a", "missing"))

    assert told(client.settle(client.ask(CDS, drop=["a"]))) == [({"a": 1}, ())]
    assert told(client.settle(client.ask(CDS, drop=["missing"]))) == [({}, ("missing",))]


def test_xp_54_one_request_judges_subscribes_and_unsubscribes() -> None:
    client = DeltaClient(endpoints("a"), endpoints("b"), endpoints("c"))
    [first] = client.ask(EDS, "a", "b")

    [second] = client.ack(first, "c", drop=["a"])
    client.ack(second)

    assert second.says == {"c": 1}
    assert told(client.change(endpoints("a", 2), endpoints("b", 2), endpoints("c", 2))) == [({"b": 2, "c": 2}, ())]


@pytest.mark.parametrize("nonce", ["stale", "unknown"])
def test_xp_55_names_count_whatever_the_nonce(nonce: str) -> None:
    client = DeltaClient(endpoints("a"), endpoints("b"))
    [first] = client.ask(EDS, "a")
    client.ack(first)
    [second] = client.change(endpoints("a", 2))

    waiting = client.ask(EDS, "b", nonce=first.nonce if nonce == "stale" else "1000")
    heard = client.ack(second)

    assert waiting == []
    assert told(heard) == [({"b": 1}, ())]


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


def test_xp_64_a_cluster_on_demand_is_answered_at_once_on_a_stream_that_has_everything() -> None:
    client = DeltaClient(cluster("a"))
    client.settle(client.ask(CDS))

    assert told(client.settle(client.ask(CDS, "a"))) == [({"a": 1}, ())]
    assert told(client.settle(client.ask(CDS, "none"))) == [({}, ("none",))]
    assert told(client.change(cluster("none"))) == [({"none": 1}, ())]


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
