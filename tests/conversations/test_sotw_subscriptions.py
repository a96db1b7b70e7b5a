"""SotW: what is asked for, and what is answered."""

from __future__ import annotations

import pytest

from controlplane.envoy.type_urls import CDS, EDS, LDS, RATE_LIMIT_CONFIG, RDS, SDS
from tests.support.fakes.resources import cluster, endpoints, listener, rate_limits, routes, secret
from tests.support.fakes.xds_client import Heard, SotwClient


def told(responses: list[Heard]) -> list[dict[str, int]]:
    return [dict(each.says) for each in responses]


def test_xp_20_all_that_is_asked_for_and_exists_comes_in_one_response() -> None:
    client = SotwClient(routes("a"), routes("b"), routes("other"))

    assert told(client.ask(RDS, "a", "b", "missing")) == [{"a": 1, "b": 1}]


@pytest.mark.parametrize("type_url", [LDS, CDS])
def test_xp_21_no_names_mean_everything_and_stay_so_through_acks(type_url: str) -> None:
    client = SotwClient(cluster("a"), listener("a"))

    heard = client.settle(client.ask(type_url))

    assert told(heard) == [{"a": 1}]
    assert told(client.change(cluster("b"), listener("b"))) == [{"a": 1, "b": 1}]


def test_a_rate_limit_service_hears_of_all_limits_whenever_one_changes_and_when_none_is_left() -> None:
    client = SotwClient(rate_limits("a"), rate_limits("b"))

    assert told(client.settle(client.ask(RATE_LIMIT_CONFIG))) == [{"a": 1, "b": 1}]
    assert told(client.settle(client.change(rate_limits("a", 2)))) == [{"a": 2, "b": 1}]
    assert told(client.settle(client.change(gone=[(RATE_LIMIT_CONFIG, "b")]))) == [{"a": 2}]
    assert told(client.settle(client.change(gone=[(RATE_LIMIT_CONFIG, "a")]))) == [{}]
    assert told(SotwClient().ask(RATE_LIMIT_CONFIG)) == [{}]


def test_xp_22_a_star_means_everything_alone_or_with_names() -> None:
    client, other = SotwClient(cluster("a"), cluster("b")), SotwClient(cluster("a"), cluster("b"))

    assert told(client.ask(CDS, "*")) == told(other.ask(CDS, "*", "a")) == [{"a": 1, "b": 1}]


def test_xp_23_everything_then_a_name_too_then_only_the_name_then_nothing() -> None:
    client = SotwClient(cluster("A"), cluster("B"))
    client.settle(client.ask(CDS))

    client.settle(client.ask(CDS, "*", "A"))
    both = client.settle(client.change(cluster("B", 2)))
    client.settle(client.ask(CDS, "A"))
    other = client.change(cluster("B", 3))
    one = client.settle(client.change(cluster("A", 2)))
    client.settle(client.ask(CDS))
    none = client.change(cluster("A", 3), cluster("B", 4))

    assert told(both) == [{"A": 1, "B": 2}]
    assert other == []
    assert told(one) == [{"A": 2}]
    assert none == []


@pytest.mark.parametrize("type_url", [EDS, RDS, SDS])
def test_xp_24_no_names_mean_nothing_for_other_types(type_url: str) -> None:
    client = SotwClient(endpoints("a"), routes("a"), secret("a"))

    assert client.ask(type_url) == []
    assert client.change(endpoints("a", 2), routes("a", 2), secret("a", 2)) == []


def test_xp_28_an_ack_and_a_nack_may_change_the_names() -> None:
    client = SotwClient(endpoints("a"), endpoints("b"), endpoints("c"))
    [first] = client.ask(EDS, "a")

    [second] = client.say(EDS, ["a", "b"], first.version, first.nonce)
    [third] = client.say(EDS, ["a", "b", "c"], first.version, second.nonce, "no")

    assert told([second, third]) == [{"b": 1}, {"c": 1}]


def test_xp_31_a_name_added_later_is_sent_though_the_version_is_the_same() -> None:
    client = SotwClient(endpoints("a"), endpoints("b"))
    [first] = client.settle(client.ask(EDS, "a"))

    [second] = client.ask(EDS, "a", "b")

    assert second.says["b"] == 1
    assert first.version == second.version


def test_xp_32_a_name_dropped_and_asked_for_again_is_sent_again() -> None:
    client = SotwClient(endpoints("a"), endpoints("b"))
    client.settle(client.ask(EDS, "a", "b"))

    client.ask(EDS, "a")

    assert told(client.ask(EDS, "a", "b")) == [{"b": 1}]


@pytest.mark.parametrize("type_url", [CDS, EDS])
def test_xp_33_dropping_a_name_is_quiet_and_so_is_its_change(type_url: str) -> None:
    client = SotwClient(cluster("a"), cluster("b"), endpoints("a"), endpoints("b"))
    client.settle(client.ask(type_url, "a", "b"))

    assert client.ask(type_url, "a") == []
    assert client.change(cluster("b", 2), endpoints("b", 2)) == []


@pytest.mark.parametrize("type_url", [CDS, LDS])
def test_xp_34_one_of_many_clusters_or_listeners_changes_and_all_are_sent(type_url: str) -> None:
    client = SotwClient(cluster("a"), cluster("b"), cluster("c"), listener("a"), listener("b"), listener("c"))
    client.settle(client.ask(type_url, "a", "b"))

    changed = client.settle(client.change(cluster("a", 2), listener("a", 2)))
    added = client.settle(client.ask(type_url, "a", "b", "c"))

    assert told(changed) == [{"a": 2, "b": 1}]
    assert told(added) == [{"a": 2, "b": 1, "c": 1}]


@pytest.mark.parametrize("type_url", [RDS, EDS, SDS])
def test_xp_35_one_of_many_others_changes_alone(type_url: str) -> None:
    client = SotwClient(*(make(name) for make in (routes, endpoints, secret) for name in "abc"))
    client.settle(client.ask(type_url, "a", "b", "c"))

    assert told(client.change(routes("b", 2), endpoints("b", 2), secret("b", 2))) == [{"b": 2}]


def test_xp_36_a_deleted_cluster_is_left_out_and_the_last_leaves_an_empty_response() -> None:
    client = SotwClient(cluster("a"), cluster("b"))
    client.settle(client.ask(CDS))

    assert told(client.settle(client.change(gone=[(CDS, "a")]))) == [{"b": 1}]
    assert told(client.settle(client.change(gone=[(CDS, "b")]))) == [{}]


def test_xp_37_a_deleted_route_configuration_cannot_be_told() -> None:
    client = SotwClient(routes("a"))
    client.settle(client.ask(RDS, "a"))

    assert client.change(gone=[(RDS, "a")]) == []
    assert client.change(routes("a")) == []
    assert told(client.change(routes("a", 2))) == [{"a": 2}]


def test_xp_37_deleted_endpoints_are_told_as_none() -> None:
    client = SotwClient(cluster("a"), endpoints("a"))
    client.settle(client.ask(CDS))
    client.settle(client.ask(EDS, "a"))

    assert told(client.change(gone=[(EDS, "a")])) == [{"a": 0}]


def test_xp_38_a_name_that_does_not_exist_is_remembered() -> None:
    client = SotwClient()

    assert client.ask(RDS, "later") == []
    assert told(client.change(routes("later"))) == [{"later": 1}]


@pytest.mark.parametrize("type_url", [CDS, LDS])
def test_xp_39_a_first_request_for_everything_is_answered_even_if_there_is_nothing(type_url: str) -> None:
    assert told(SotwClient().ask(type_url)) == [{}]


def test_clusters_asked_for_by_name_that_do_not_exist_are_answered_by_their_absence() -> None:
    assert told(SotwClient(cluster("other")).ask(CDS, "missing")) == [{}]


def test_xp_40_unknown_endpoints_are_answered_with_none() -> None:
    client = SotwClient(endpoints("a"))

    [heard] = client.ask(EDS, "a", "missing")
    client.ack(heard)

    assert heard.says == {"a": 1, "missing": 0}
    assert told(client.change(endpoints("missing"))) == [{"missing": 1}]


@pytest.mark.parametrize("type_url", [CDS, EDS, RDS])
def test_xp_43_an_empty_name_is_an_unknown_name(type_url: str) -> None:
    client = SotwClient(cluster("a"), endpoints("a"), routes("a"))
    client.settle(client.ask(type_url, "a"))

    heard = client.settle(client.ask(type_url, ""))

    assert all(not each.says for each in heard)
    assert client.change(cluster("a", 2), endpoints("a", 2), routes("a", 2)) == []
