"""Delta: what is asked for, and what is answered."""

from __future__ import annotations

import pytest

from controlplane.envoy.type_urls import CDS, EDS, LDS, RDS, SDS
from controlplane.xds.resource import Resource
from tests.support.fakes.resources import cluster, endpoints, listener, routes, secret
from tests.support.fakes.xds_client import DeltaClient, Heard


def versions(*resources: Resource) -> dict[str, str]:
    return {each.name: each.version for each in resources}


def told(responses: list[Heard]) -> list[tuple[dict[str, int], tuple[str, ...]]]:
    return [(dict(each.says), each.removed) for each in responses]


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


def test_xp_53_dropping_a_name_in_the_request_that_asks_for_everything_is_answered_too() -> None:
    client = DeltaClient(cluster("a"), cluster("b"))
    [first] = client.ask(CDS, "b")
    assert client.change(gone=[(CDS, "b")]) == []

    assert client.ask(CDS, "*", drop=["b"]) == []

    assert told(client.settle(client.ack(first))) == [({"a": 1}, ("b",))]


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


def test_xp_64_a_cluster_on_demand_is_answered_at_once_on_a_stream_that_has_everything() -> None:
    client = DeltaClient(cluster("a"))
    client.settle(client.ask(CDS))

    assert told(client.settle(client.ask(CDS, "a"))) == [({"a": 1}, ())]
    assert told(client.settle(client.ask(CDS, "none"))) == [({}, ("none",))]
    assert told(client.change(cluster("none"))) == [({"none": 1}, ())]
