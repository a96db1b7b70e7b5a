"""SotW: make before break, and what a client refuses."""

from __future__ import annotations

from controlplane.envoy.type_urls import CDS, EDS, LDS, RDS
from controlplane.xds.events import Acked, Nacked
from controlplane.xds.resource import Resource
from controlplane.xds.view import View
from tests.support.fakes.resources import cluster, endpoints, listener, routes
from tests.support.fakes.xds_client import Heard, SotwClient, table

Told = tuple[str, dict[str, int]]


def told(responses: list[Heard]) -> list[Told]:
    return [(each.type_url, dict(each.says)) for each in responses]


def connected(*resources: Resource) -> SotwClient:
    """Return a client that has asked for everything that there is and accepted it all."""
    client = SotwClient(*resources)
    client.settle(client.ask(CDS))
    client.settle(client.ask(EDS, *(each.name for each in resources if each.type_url == EDS)))
    client.settle(client.ask(LDS))
    client.settle(client.ask(RDS, *(each.name for each in resources if each.type_url == RDS)))
    client.events.clear()
    return client


def test_xp_76_one_change_of_all_types_comes_in_order() -> None:
    client = connected(cluster("a"), endpoints("a"), listener("l", routes=["r"]), routes("r"))

    heard = client.change(routes("r", 2), listener("l", 2, routes=["r"]), endpoints("a", 2), cluster("a", 2))

    assert [each.type_url for each in heard] == [CDS, EDS, LDS, RDS]


def test_xp_76_a_route_to_a_new_cluster_waits_until_the_cluster_was_accepted() -> None:
    client = connected(cluster("a"), routes("r", clusters=["a"]))

    [clusters] = client.change(cluster("b"), routes("r", 2, clusters=["b"]))
    heard = client.ack(clusters)

    assert told([clusters, *heard]) == [(CDS, {"a": 1, "b": 1}), (RDS, {"r": 2})]


def test_xp_76_a_listener_that_waits_for_a_cluster_holds_no_other_up() -> None:
    client = connected(cluster("a"), listener("tcp", clusters=["a"]), listener("other"))

    clusters, listeners = client.change(cluster("b"), listener("tcp", 2, clusters=["b"]), listener("other", 2))
    client.ack(listeners)
    heard = client.ack(clusters)

    assert told([listeners, *heard]) == [(LDS, {"tcp": 1, "other": 2}), (LDS, {"tcp": 2, "other": 2})]


def test_xp_77_what_is_gone_is_left_out_after_the_ack_of_what_stopped_using_it() -> None:
    client = connected(cluster("x"), endpoints("x"), routes("r", clusters=["x"]))

    [added] = client.change(cluster("y"), endpoints("y"), routes("r", 2, clusters=["y"]), gone=[(CDS, "x"), (EDS, "x")])
    [repointed] = client.ack(added)
    [removal] = client.ack(repointed)
    client.ask(EDS)  # Envoy's way, before it accepts the removal

    assert told([added, repointed, removal]) == [(CDS, {"x": 1, "y": 1}), (RDS, {"r": 2}), (CDS, {"y": 1})]
    assert client.ack(removal) == []


def test_xp_78_clusters_that_changed_are_followed_by_their_endpoints_and_no_others() -> None:
    client = connected(cluster("a"), cluster("b"), endpoints("a"), endpoints("b"), listener("l"))

    heard = client.change(cluster("a", 2), listener("l", 2))

    assert told(heard) == [(CDS, {"a": 2, "b": 1}), (EDS, {"a": 1}), (LDS, {"l": 2})]


def test_another_view_is_told_as_the_difference() -> None:
    client = connected(cluster("a"), endpoints("a"), routes("r"))

    client.sotw.see(View(table(cluster("a"), endpoints("a", 2), routes("r"))))

    assert told(client.heard()) == [(EDS, {"a": 2})]


def test_xp_26_an_error_makes_a_nack_not_the_version() -> None:
    client = SotwClient(routes("A"))
    [first] = client.ask(RDS, "A", "B")
    client.ack(first)
    [second] = client.change(routes("B"))
    client.events.clear()

    quiet = client.nack(second, "bad B")

    assert quiet == []
    [event] = client.events
    assert isinstance(event, Nacked)
    assert (event.version, event.code, event.message, [each.name for each in event.resources]) == (second.version, 13, "bad B", ["B"])


def test_xp_27_what_is_refused_is_not_sent_again_and_the_next_version_is() -> None:
    client = connected(cluster("a"), cluster("b"))
    [bad] = client.change(cluster("a", 2))

    quiet = client.nack(bad)
    [next_one] = client.change(cluster("a", 3))

    assert quiet == []
    assert told([next_one]) == [(CDS, {"a": 3, "b": 1})]


def test_xp_27_while_one_cluster_is_refused_the_others_go_on_beside_its_accepted_version() -> None:
    client = connected(cluster("a"), cluster("b"))
    [bad] = client.change(cluster("a", 2), cluster("new"), cluster("b", 2))
    one, *_ = client.nack(bad)

    assert told([one]) == [(CDS, {"a": 2, "b": 1})]
    [two] = client.nack(one)
    [three] = client.ack(two)
    assert told([two, three]) == [(CDS, {"a": 1, "b": 2}), (CDS, {"a": 1, "b": 2, "new": 1})]
    assert client.ack(three) == []
    assert [type(event) for event in client.events] == [Nacked, Nacked, Acked, Acked]


def test_xp_10_a_response_with_an_accepted_older_version_has_a_version_of_its_own() -> None:
    client = connected(cluster("a"), cluster("b"))
    [bad] = client.change(cluster("a", 2))
    client.nack(bad)

    [partial] = client.change(cluster("b", 2))
    [as_if] = SotwClient(cluster("a"), cluster("b", 2)).ask(CDS)

    assert partial.version == as_if.version


def test_a_refused_response_of_several_routes_is_tried_one_by_one() -> None:
    client = connected(routes("a"), routes("b"), routes("c"))
    [together] = client.change(routes("a", 2), routes("b", 2), routes("c", 2))

    [first] = client.nack(together)
    [second] = client.ack(first)
    [third] = client.nack(second)

    assert told([first, second, third]) == [(RDS, {"a": 2}), (RDS, {"b": 2}), (RDS, {"c": 2})]
    assert client.ack(third) == []


def test_xp_77_what_the_accepted_version_of_a_refused_route_uses_stays() -> None:
    client = connected(cluster("x"), cluster("y"), routes("r", clusters=["x"]))
    [bad] = client.change(routes("r", 2, clusters=["y"]))

    client.nack(bad)
    kept = client.change(gone=[(CDS, "x")])
    [better] = client.change(routes("r", 3, clusters=["y"]))

    assert kept == []
    assert told([better, *client.ack(better)]) == [(RDS, {"r": 3}), (CDS, {"y": 1})]
