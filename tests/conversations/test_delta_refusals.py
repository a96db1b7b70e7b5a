"""Delta: what a client refuses is not lost, not repeated, and holds nothing else up."""

from __future__ import annotations

from controlplane.envoy.type_urls import CDS, EDS, LDS, RDS, VHDS
from controlplane.xds.events import Acked, Nacked
from controlplane.xds.resource import Resource
from tests.support.fakes.resources import cluster, endpoints, host, listener, routes
from tests.support.fakes.xds_client import DeltaClient, Heard

Told = tuple[str, dict[str, int], tuple[str, ...]]


def told(responses: list[Heard]) -> list[Told]:
    return [(each.type_url, dict(each.says), each.removed) for each in responses]


def connected(*resources: Resource) -> DeltaClient:
    client = DeltaClient(*resources)
    client.settle(client.ask(CDS))
    client.settle(client.ask(LDS))
    client.settle(client.ask(RDS, "r"))
    client.settle(client.ask(VHDS))
    client.events.clear()
    return client


def refuse(client: DeltaClient, first: Heard, bad: set[str]) -> list[Heard]:
    """Judge ``first`` and all that follows as a client that cannot stand the names ``bad``; return what followed."""
    waiting, found = [first], []
    while waiting:
        judged = waiting.pop(0)
        followed = client.nack(judged) if bad & judged.says.keys() else client.ack(judged)
        waiting += followed
        found += followed
    return found


def test_xp_56_what_is_refused_alone_is_not_sent_again_in_that_version() -> None:
    client = connected(cluster("a"), cluster("b"))

    [bad] = client.change(cluster("a", 2))
    quiet = client.nack(bad, message="no such field")
    others = client.settle(client.change(cluster("b", 2)))
    next_one = client.change(cluster("a", 3))

    assert quiet == []
    assert told(others) == [(CDS, {"b": 2}, ())]
    assert told(next_one) == [(CDS, {"a": 3}, ())]


def test_what_is_refused_and_taken_away_then_is_refused_no_more() -> None:
    client = connected(cluster("a"))
    [bad] = client.change(cluster("new"))
    client.nack(bad, message="no such field")
    before = client.stream.refuses(CDS, "new")

    quiet = client.change(gone=((CDS, "new"),))

    assert (before, quiet, client.stream.refuses(CDS, "new")) == (True, [], False)


def test_xp_56_a_refusal_names_what_was_refused() -> None:
    client = connected(cluster("a"))
    [bad] = client.change(cluster("a", 2))

    client.nack(bad, message="no such field")

    [event] = client.events
    assert isinstance(event, Nacked)
    assert (event.type_url, event.nonce, event.code, event.message, event.final) == (CDS, bad.nonce, 13, "no such field", True)
    assert [(each.name, each.version) for each in event.resources] == [("a", bad.versions["a"])]


def test_a_refused_resource_that_becomes_what_it_was_is_not_sent() -> None:
    client = connected(cluster("a"))
    [bad] = client.change(cluster("a", 2))
    client.nack(bad)

    assert client.change(cluster("a", 1)) == []


def test_xp_51_what_was_refused_is_sent_again_if_asked_for() -> None:
    client = DeltaClient(endpoints("a"))
    [bad] = client.ask(EDS, "a")
    client.nack(bad)

    assert told(client.ask(EDS, "a")) == [(EDS, {"a": 1}, ())]


def test_a_refused_response_of_several_is_tried_one_by_one() -> None:
    client = connected(cluster("a"), cluster("b"), cluster("c"))
    [together] = client.change(cluster("a", 2), cluster("b", 2), cluster("c", 2))

    tried = refuse(client, together, {"b"})

    assert told(tried) == [(CDS, {"a": 2}, ()), (CDS, {"b": 2}, ()), (CDS, {"c": 2}, ())]
    assert [type(event) for event in client.events] == [Nacked, Acked, Nacked, Acked]
    assert [event.final for event in client.events if isinstance(event, Nacked)] == [False, True]


def test_a_thousand_refused_are_narrowed_down() -> None:
    client = DeltaClient(*(cluster(f"c{number:03}") for number in range(1000)))
    [everything] = client.ask(CDS)

    tried = refuse(client, everything, {"c777"})

    accepted = {name for each in tried for name in each.says} - {"c777"}
    assert len(accepted) == 999
    assert len(tried) < 50
    assert tried[-1].says.keys() != {"c777"}


def test_what_is_new_does_not_wait_for_the_trial_of_what_was_refused() -> None:
    client = connected(cluster("a"), cluster("b"), cluster("c"))
    [together] = client.change(cluster("a", 2), cluster("b", 2))
    [first] = client.nack(together)

    client.change(cluster("c", 2), cluster("b", 3))
    [fresh] = client.ack(first)
    rest = client.ack(fresh)

    assert told([first, fresh, *rest]) == [(CDS, {"a": 2}, ()), (CDS, {"c": 2}, ()), (CDS, {"b": 3}, ())]


def test_a_removal_in_a_refused_response_is_tried_again_too() -> None:
    client = connected(cluster("a"), cluster("b"))
    [together] = client.change(cluster("a", 2), gone=[(CDS, "b")])

    tried = refuse(client, together, {"a"})

    assert told(tried) == [(CDS, {"a": 2}, ()), (CDS, {}, ("b",))]


def test_hosts_that_exchange_a_domain_are_tried_together() -> None:
    client = connected(routes("r"), host("r/one", domains=["d"]), host("r/two", domains=["e"]), host("r/bad"))
    [together] = client.change(host("r/one", 2, domains=["e"]), host("r/two", 2, domains=["d"]), host("r/bad", 2))

    tried = refuse(client, together, {"r/bad"})

    assert told(tried) == [(VHDS, {"r/bad": 2}, ()), (VHDS, {"r/one": 2, "r/two": 2}, ())]


def test_a_new_host_takes_its_domain_along_with_the_suspect_that_gives_it_up() -> None:
    client = connected(routes("r"), host("r/bad"), host("r/old", domains=["d"]))
    [together] = client.change(host("r/bad", 2), host("r/old", 2, domains=["o"]))
    [first] = client.nack(together)

    client.change(host("r/new", domains=["d"]))
    heard = client.nack(first)

    assert told([first, *heard]) == [(VHDS, {"r/bad": 2}, ()), (VHDS, {"r/new": 1, "r/old": 2}, ())]


def test_a_route_stays_as_it_was_while_the_cluster_that_it_would_use_is_refused() -> None:
    client = connected(cluster("a"), routes("r", clusters=["a"]))
    [bad] = client.change(cluster("b"), routes("r", 2, clusters=["b"]))

    quiet = client.nack(bad)
    [better] = client.change(cluster("b", 2))
    heard = client.ack(better)

    assert quiet == []
    assert told([better, *heard]) == [(CDS, {"b": 2}, ()), (RDS, {"r": 2}, ())]


def test_a_route_that_the_client_never_had_is_sent_even_if_its_cluster_was_refused() -> None:
    client = connected(cluster("a"))
    [bad] = client.change(cluster("b"), listener("l", clusters=["b"]))

    assert told(client.nack(bad)) == [(LDS, {"l": 1}, ())]


def test_a_cluster_refused_in_a_new_version_holds_no_route_up() -> None:
    client = connected(cluster("a"), routes("r", clusters=["a"]))
    [bad] = client.change(cluster("a", 2))
    client.nack(bad)

    assert told(client.change(routes("r", 2, clusters=["a"]))) == [(RDS, {"r": 2}, ())]


def test_xp_77_what_the_accepted_version_of_a_refused_route_uses_is_not_removed() -> None:
    client = connected(cluster("x"), cluster("y"), routes("r", clusters=["x"]))
    [bad] = client.change(routes("r", 2, clusters=["y"]))

    client.nack(bad)
    kept = client.change(gone=[(CDS, "x")])
    [better] = client.change(routes("r", 3, clusters=["y"]))
    removal = client.ack(better)

    assert kept == []
    assert told([better, *removal]) == [(RDS, {"r": 3}, ()), (CDS, {}, ("x",))]


def test_a_refusal_may_ask_for_more() -> None:
    client = DeltaClient(endpoints("a"), endpoints("b"))
    [bad] = client.ask(EDS, "a")

    assert told(client.nack(bad, "b")) == [(EDS, {"b": 1}, ())]


def test_xp_55_an_old_refusal_says_nothing_about_what_is_on_its_way() -> None:
    client = connected(cluster("a"))
    [first] = client.change(cluster("a", 2))
    client.ack(first)
    [second] = client.change(cluster("a", 3))
    client.events.clear()

    assert client.nack(first) == []
    assert client.events == []
    assert client.ack(second) == []
    assert [type(event) for event in client.events] == [Acked]
