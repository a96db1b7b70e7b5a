"""Delta: virtual hosts, pushed behind their route configurations as Envoy expects them."""

from __future__ import annotations

from controlplane.envoy.type_urls import CDS, LDS, RDS, VHDS
from controlplane.xds.resource import Resource
from tests.support.fakes.resources import cluster, host, listener, routes
from tests.support.fakes.xds_client import DeltaClient, Heard

Told = tuple[str, dict[str, int], tuple[str, ...]]


def told(responses: list[Heard]) -> list[Told]:
    return [(each.type_url, dict(each.says), each.removed) for each in responses]


def connected(*resources: Resource, tables: tuple[str, ...] = ("80",)) -> DeltaClient:
    client = DeltaClient(*resources)
    client.settle(client.ask(CDS))
    client.settle(client.ask(RDS, *tables))
    client.settle(client.ask(VHDS))
    return client


def test_an_empty_request_gets_the_hosts_of_the_tables_asked_for() -> None:
    client = DeltaClient(routes("80"), routes("90"), host("80/a"), host("80/b"), host("90/a"))
    client.settle(client.ask(RDS, "80"))

    assert told(client.ask(VHDS)) == [(VHDS, {"80/a": 1, "80/b": 1}, ())]


def test_xp_60_a_first_request_is_answered_even_if_there_are_none() -> None:
    client = DeltaClient()

    assert told(client.ask(VHDS)) == [(VHDS, {}, ())]


def test_xp_63_a_table_asked_for_later_brings_its_hosts_right_behind() -> None:
    client = connected(routes("80"), routes("90"), host("80/a"), host("90/a"), host("90/b"))

    assert told(client.ask(RDS, "90")) == [(RDS, {"90": 1}, ()), (VHDS, {"90/a": 1, "90/b": 1}, ())]


def test_xp_63_a_table_that_is_created_later_brings_its_hosts_right_behind() -> None:
    client = connected(routes("80"), host("80/a"), tables=("80", "90"))

    assert told(client.change(routes("90"), host("90/a"))) == [(RDS, {"90": 1}, ()), (VHDS, {"90/a": 1}, ())]


def test_xp_63_the_table_is_what_stands_before_the_last_slash() -> None:
    client = connected(routes("inbound/80"), host("inbound/80/a"), host("80/a"), tables=("inbound/80",))

    assert told(client.change(host("inbound/80/a", 2), host("80/a", 2))) == [(VHDS, {"inbound/80/a": 2}, ())]


def test_hosts_do_not_overtake_their_table() -> None:
    client = connected(routes("80"), host("80/a"), tables=("80", "90"))
    [busy] = client.change(routes("80", 2))

    quiet = client.change(routes("90"), host("90/a"))
    heard = client.ack(busy)

    assert quiet == []
    assert told(heard) == [(RDS, {"90": 1}, ()), (VHDS, {"90/a": 1}, ())]


def test_a_changed_host_comes_alone_and_a_changed_table_repeats_no_hosts() -> None:
    client = connected(routes("80"), *(host(f"80/{number}") for number in range(100)))

    assert told(client.settle(client.change(host("80/42", 2)))) == [(VHDS, {"80/42": 2}, ())]
    assert told(client.settle(client.change(routes("80", 2)))) == [(RDS, {"80": 2}, ())]
    assert told(client.settle(client.change(gone=[(VHDS, "80/42")]))) == [(VHDS, {}, ("80/42",))]


def test_hosts_of_a_table_dropped_and_asked_for_again_are_sent_again() -> None:
    client = connected(routes("80"), host("80/a"))

    client.ask(RDS, drop=["80"])
    quiet = client.change(host("80/a", 2))
    heard = client.ask(RDS, "80")

    assert quiet == []
    assert told(heard) == [(RDS, {"80": 1}, ()), (VHDS, {"80/a": 2}, ())]


def test_hosts_of_a_table_that_is_gone_are_removed_and_come_again_with_it() -> None:
    client = connected(routes("80"), host("80/a"))

    gone = client.settle(client.change(gone=[(RDS, "80"), (VHDS, "80/a")]))
    again = client.settle(client.change(routes("80"), host("80/a")))

    assert told(gone) == [(RDS, {}, ("80",)), (VHDS, {}, ("80/a",))]
    assert told(again) == [(RDS, {"80": 1}, ()), (VHDS, {"80/a": 1}, ())]


def test_hosts_of_a_refused_table_are_sent_again_behind_its_next_version() -> None:
    client = connected(routes("80"), tables=("80", "90"))
    [table, hosts] = client.change(routes("90"), host("90/a"))
    client.ack(hosts)
    client.nack(table)

    assert told(client.change(routes("90", 2))) == [(RDS, {"90": 2}, ()), (VHDS, {"90/a": 1}, ())]


def test_xp_58_hosts_whose_versions_match_are_not_sent_on_a_new_stream() -> None:
    known = {each.name: each.version for each in (host("80/a"), host("80/b"))}
    client = DeltaClient(routes("80"), host("80/a"), host("80/b", 2))
    client.settle(client.ask(RDS, "80", versions={"80": routes("80").version}))

    heard = client.settle(client.ask(VHDS, versions={**known, "80/gone": "0"}))

    assert told(heard) == [(VHDS, {"80/b": 2}, ("80/gone",))]


def test_xp_58_it_does_not_matter_whether_hosts_or_tables_are_asked_for_first() -> None:
    known = {each.name: each.version for each in (host("80/a"), host("80/b"))}
    client = DeltaClient(routes("80"), host("80/a"), host("80/b", 2), host("80/c"))

    heard = client.settle(client.ask(VHDS, versions={**known, "80/gone": "0"}))
    heard += client.settle(client.ask(RDS, "80", versions={"80": routes("80").version}))

    assert {name: revision for each in heard for name, revision in each.says.items()} == {"80/b": 2, "80/c": 1}
    assert [each.removed for each in heard if each.removed] == [("80/gone",)]


def test_a_host_waits_for_the_cluster_that_it_is_the_first_to_use() -> None:
    client = connected(cluster("a"), routes("80"), host("80/h", clusters=["a"]))

    [clusters] = client.change(cluster("b"), host("80/h", 2, clusters=["b"]))

    assert told([clusters, *client.ack(clusters)]) == [(CDS, {"b": 1}, ()), (VHDS, {"80/h": 2}, ())]


def test_hosts_that_exchange_a_domain_go_together_or_not_at_all() -> None:
    client = connected(cluster("a"), routes("80"), host("80/one", domains=["d"]), host("80/two", domains=["e"]), host("80/three"))

    [clusters, free] = client.change(
        cluster("b"),
        host("80/one", 2, domains=["x"], clusters=["b"]),  # waits for its cluster, and has "d" till then
        host("80/two", 2, domains=["d"]),
        host("80/three", 2),
    )
    client.ack(free)
    heard = client.ack(clusters)

    assert told([free]) == [(VHDS, {"80/three": 2}, ())]
    assert told(heard) == [(VHDS, {"80/one": 2, "80/two": 2}, ())]


def test_a_removal_that_frees_a_domain_is_in_the_response_that_takes_it() -> None:
    client = connected(routes("80"), host("80/old", domains=["d"]))

    assert told(client.change(host("80/new", domains=["d"]), gone=[(VHDS, "80/old")])) == [(VHDS, {"80/new": 1}, ("80/old",))]


def test_a_domain_that_moves_stays_where_it_is_until_its_new_host_can_go() -> None:
    client = connected(cluster("a"), routes("80"), host("80/old", domains=["d"]), host("80/wide", domains=["e", "f"]))

    [clusters] = client.change(
        cluster("b"),
        host("80/new", domains=["d", "f"], clusters=["b"]),  # waits for its cluster
        host("80/wide", 2, domains=["e"]),
        gone=[(VHDS, "80/old")],
    )

    assert told([clusters, *client.ack(clusters)]) == [(CDS, {"b": 1}, ()), (VHDS, {"80/new": 1, "80/wide": 2}, ("80/old",))]


def test_the_last_host_goes_ahead_of_the_table_that_has_none_any_more() -> None:
    # Envoy that has a table without VHDS hears of no removal for it, and would have the host for ever: it serves it, and refuses every
    # other host with its domain.
    client = connected(routes("80"), host("80/old", domains=["d"]))

    empty = client.settle(client.change(routes("80", 2), gone=[(VHDS, "80/old")]))
    filled = client.settle(client.change(routes("80"), host("80/new", domains=["d"])))

    assert told(empty) == [(VHDS, {}, ("80/old",)), (RDS, {"80": 2}, ())]
    assert told(filled) == [(RDS, {"80": 1}, ()), (VHDS, {"80/new": 1}, ())]


def test_hosts_of_a_table_that_left_go_ahead_of_it_when_it_comes_again_without_any() -> None:
    client = connected(routes("80"), host("80/old"))
    client.settle(client.ask(LDS))
    client.settle(client.change(listener("l", routes=["80"])))
    [leaving] = client.change(gone=[(LDS, "l"), (RDS, "80"), (VHDS, "80/old")])

    heard = client.change(listener("m", routes=["80"]), routes("80", 2))
    heard += client.settle([leaving, *heard])

    assert [each for each in told(heard) if each[0] in (RDS, VHDS)][:2] == [(VHDS, {}, ("80/old",)), (RDS, {"80": 2}, ())]


def test_hosts_from_an_earlier_stream_go_ahead_of_their_table_that_has_none_any_more() -> None:
    client = DeltaClient(cluster("a"), routes("80", 2))
    [clusters] = client.ask(CDS)

    early = client.ask(RDS, "80", versions={"80": routes("80").version})
    heard = client.ask(VHDS, versions={"80/old": "0"})

    assert early == []  # the client has not said yet what hosts it has
    assert told(heard) == [(VHDS, {}, ("80/old",)), (RDS, {"80": 2}, ())]
    assert client.ack(clusters) == []


def test_a_table_without_hosts_does_not_wait_for_a_client_that_asks_for_none() -> None:
    client = DeltaClient(cluster("a"), routes("80", 2))
    [clusters] = client.ask(CDS)

    early = client.ask(RDS, "80", versions={"80": routes("80").version})

    assert early == []
    assert told(client.ack(clusters)) == [(RDS, {"80": 2}, ())]


def test_a_host_does_not_take_a_domain_that_a_refused_one_left_only_here() -> None:
    client = connected(routes("80"), host("80/old", domains=["d"]), host("80/new", domains=["n"]))
    [refused] = client.change(host("80/old", 2, domains=["o"]))
    client.nack(refused)

    quiet = client.change(host("80/new", 2, domains=["n", "d"]))
    heard = client.change(host("80/old", 3, domains=["o"]))

    assert quiet == []
    assert told(heard) == [(VHDS, {"80/new": 2, "80/old": 3}, ())]


def test_hosts_asked_for_by_name_are_answered_by_name() -> None:
    client = DeltaClient(routes("80"), host("80/a"), host("80/b"))
    client.settle(client.ask(RDS, "80"))

    assert told(client.settle(client.ask(VHDS, "80/a", "80/none"))) == [(VHDS, {"80/a": 1}, ("80/none",))]
    assert told(client.change(host("80/a", 2), host("80/b", 2))) == [(VHDS, {"80/a": 2}, ())]


def test_a_service_of_virtual_hosts_alone_gives_all() -> None:
    client = DeltaClient(host("80/a"), host("90/a"), only=VHDS)

    assert told(client.ask("")) == [(VHDS, {"80/a": 1, "90/a": 1}, ())]


def test_xp_77_a_table_and_its_hosts_stay_until_the_listener_went() -> None:
    client = connected(routes("80"), host("80/a"))
    client.settle(client.ask(LDS))
    client.settle(client.change(listener("l", routes=["80"])))

    [listeners] = client.change(gone=[(LDS, "l"), (RDS, "80"), (VHDS, "80/a")])
    heard = client.ack(listeners)

    assert told([listeners]) == [(LDS, {}, ("l",))]
    assert told(heard) == [(RDS, {}, ("80",)), (VHDS, {}, ("80/a",))]


def test_of_hosts_refused_together_the_blameless_is_sent_with_the_next_version_of_the_other() -> None:
    client = connected(routes("80"), host("80/one", domains=["d"]), host("80/two", domains=["e"]))
    [together] = client.change(host("80/one", 2, domains=["e"]), host("80/two", 2, domains=["d"]))

    quiet = client.nack(together)
    heard = client.change(host("80/one", 3, domains=["e"]))

    assert quiet == []
    assert told(heard) == [(VHDS, {"80/one": 3, "80/two": 2}, ())]
