"""Delta: make before break, whatever the client has in use."""

from __future__ import annotations

from controlplane.envoy.type_urls import CDS, EDS, LDS, RDS, SDS, VHDS
from controlplane.xds.resource import Resource
from controlplane.xds.view import View
from tests.support.fakes.resources import cluster, endpoints, host, listener, routes, secret
from tests.support.fakes.xds_client import DeltaClient, Heard, table

Told = tuple[str, dict[str, int], tuple[str, ...]]


def told(responses: list[Heard]) -> list[Told]:
    return [(each.type_url, dict(each.says), each.removed) for each in responses]


def connected(*resources: Resource) -> DeltaClient:
    """Return a client that has asked for everything that there is and accepted it all."""
    client = DeltaClient(*resources)
    names = [each.name for each in resources if each.type_url == EDS]
    tables = [each.name for each in resources if each.type_url == RDS]
    client.settle(client.ask(CDS))
    client.settle(client.ask(EDS, *names))
    client.settle(client.ask(LDS))
    client.settle(client.ask(RDS, *tables))
    client.settle(client.ask(VHDS))
    return client


def test_xp_76_one_change_of_all_types_comes_in_order() -> None:
    client = connected(cluster("a"), endpoints("a"), listener("l", routes=["r"]), routes("r"), host("r/h"))

    heard = client.change(host("r/h", 2), routes("r", 2), listener("l", 2, routes=["r"]), endpoints("a", 2), cluster("a", 2))

    assert [each.type_url for each in heard] == [CDS, EDS, LDS, RDS, VHDS]


def test_xp_76_a_route_to_a_new_cluster_waits_until_the_cluster_was_accepted() -> None:
    client = connected(cluster("a"), endpoints("a"), routes("r", clusters=["a"]), routes("other"))

    [clusters, free] = client.change(cluster("b"), endpoints("b"), routes("r", 2, clusters=["a", "b"]), routes("other", 2))
    [assignments] = client.ask(EDS, "b")
    warming = [*client.ack(assignments), *client.ack(free)]
    heard = client.ack(clusters)

    assert told([clusters, free, assignments]) == [(CDS, {"b": 1}, ()), (RDS, {"other": 2}, ()), (EDS, {"b": 1}, ())]
    assert warming == []
    assert told(heard) == [(RDS, {"r": 2}, ())]


def test_xp_76_a_route_waits_also_while_its_cluster_waits_for_an_earlier_response() -> None:
    client = connected(cluster("a"), routes("r", clusters=["a"]))
    [busy] = client.change(cluster("a", 2))

    quiet = client.change(cluster("b"), routes("r", 2, clusters=["b"]))
    [clusters] = client.ack(busy)
    heard = client.ack(clusters)

    assert quiet == []
    assert told([clusters, *heard]) == [(CDS, {"b": 1}, ()), (RDS, {"r": 2}, ())]


def test_a_route_to_a_cluster_that_only_changes_does_not_wait() -> None:
    client = connected(cluster("a"), routes("r", clusters=["a"]))

    assert told(client.change(cluster("a", 2), routes("r", 2, clusters=["a"]))) == [(CDS, {"a": 2}, ()), (RDS, {"r": 2}, ())]


def test_first_answers_are_whole() -> None:
    client = DeltaClient(cluster("a"), listener("plain"), listener("tcp", clusters=["a"]))
    [clusters] = client.ask(CDS)

    early = client.ask(LDS)
    heard = client.ack(clusters)

    assert early == []
    assert told(heard) == [(LDS, {"plain": 1, "tcp": 1}, ())]


def test_on_a_stream_that_asks_for_no_clusters_routes_wait_for_none() -> None:
    client = DeltaClient(cluster("a"), routes("r", clusters=["a"]))

    assert told(client.ask(RDS, "r")) == [(RDS, {"r": 1}, ())]


def test_xp_77_what_is_gone_is_removed_after_the_ack_of_what_stopped_using_it() -> None:
    client = connected(cluster("x"), endpoints("x"), routes("r", clusters=["x"]))

    [added] = client.change(cluster("y"), endpoints("y"), routes("r", 2, clusters=["y"]), gone=[(CDS, "x"), (EDS, "x")])
    [assignments] = client.ask(EDS, "y")
    client.ack(assignments)
    [repointed] = client.ack(added)
    [removal] = client.ack(repointed)

    assert told([added, assignments, repointed, removal]) == [
        (CDS, {"y": 1}, ()),
        (EDS, {"y": 1}, ()),
        (RDS, {"r": 2}, ()),
        (CDS, {}, ("x",)),
    ]
    assert client.ask(EDS, drop=["x"]) == []  # Envoy's way, before it accepts the removal
    assert client.ack(removal) == []


def test_xp_77_a_cluster_that_a_removed_listener_used_goes_after_the_listener() -> None:
    client = connected(cluster("x"), listener("l", clusters=["x"]))

    [listeners] = client.change(gone=[(CDS, "x"), (LDS, "l")])
    [clusters] = client.ack(listeners)

    assert told([listeners, clusters]) == [(LDS, {}, ("l",)), (CDS, {}, ("x",))]


def test_xp_77_endpoints_of_a_cluster_that_goes_stay_until_it_went() -> None:
    client = connected(cluster("x"), endpoints("x"))

    [clusters] = client.change(gone=[(CDS, "x"), (EDS, "x")])
    heard = client.ack(clusters)

    assert told([clusters, *heard]) == [(CDS, {}, ("x",)), (EDS, {}, ("x",))]


def test_xp_77_an_unrelated_response_on_its_way_defers_no_removal() -> None:
    client = connected(cluster("x"), routes("r"))
    client.change(routes("r", 2))

    assert told(client.change(gone=[(CDS, "x")])) == [(CDS, {}, ("x",))]


def test_xp_77_a_cluster_that_comes_back_before_it_was_removed_is_not_removed() -> None:
    client = connected(cluster("x"), routes("r", clusters=["x"]))
    [repointed] = client.change(routes("r", 2), gone=[(CDS, "x")])

    client.change(cluster("x"))

    assert client.ack(repointed) == []


def test_xp_78_clusters_that_changed_are_followed_by_their_endpoints_and_no_others() -> None:
    client = connected(cluster("a"), cluster("b"), endpoints("a"), endpoints("b"), listener("l"))

    heard = client.change(cluster("a", 2), listener("l", 2))

    assert told(heard) == [(CDS, {"a": 2}, ()), (EDS, {"a": 1}, ()), (LDS, {"l": 2}, ())]


def test_xp_78_endpoints_go_by_the_name_that_the_cluster_uses() -> None:
    client = connected(cluster("a", endpoints="shared"), endpoints("shared"))

    assert told(client.change(cluster("a", 2, endpoints="shared"))) == [(CDS, {"a": 2}, ()), (EDS, {"shared": 1}, ())]


def test_xp_79_a_listener_that_changes_repeats_no_routes() -> None:
    client = connected(listener("l", routes=["r"]), routes("r"))

    assert told(client.change(listener("l", 2, routes=["r"]))) == [(LDS, {"l": 2}, ())]


def test_xp_80_a_rotated_secret_comes_alone() -> None:
    client = connected(cluster("a"), listener("l"))
    client.change(secret("default"))
    client.settle(client.ask(SDS, "default"))

    assert told(client.change(secret("default", 2))) == [(SDS, {"default": 2}, ())]


def test_another_view_is_told_as_the_difference() -> None:
    client = connected(cluster("same"), cluster("changed"), cluster("gone"), endpoints("same"), endpoints("gone"))
    moved = View(table(cluster("same"), cluster("changed", 2), cluster("new"), endpoints("same")))

    client.delta.see(moved)
    heard = client.settle(client.heard())

    assert told(heard) == [(CDS, {"changed": 2, "new": 1}, ("gone",)), (EDS, {}, ("gone",))]


def test_another_view_with_the_same_content_is_quiet() -> None:
    client = connected(cluster("a"), endpoints("a"), routes("r"), host("r/h"))

    client.delta.see(View(table(cluster("a"), endpoints("a"), routes("r"), host("r/h"))))

    assert client.heard() == []
