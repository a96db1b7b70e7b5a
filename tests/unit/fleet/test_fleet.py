"""What became of each type on each stream."""

from __future__ import annotations

from controlplane.envoy.type_urls import CDS, EDS, LDS
from controlplane.fleet.streams import Fleet, TypeStatus
from controlplane.model.proxies import Proxy, proxy_from_node
from controlplane.xds.events import Event
from controlplane.xds.stream import Progress
from tests.support.fakes.resources import cluster, endpoints, listener
from tests.support.fakes.xds_client import DeltaClient, Heard


def node(pod: str) -> Proxy:
    return proxy_from_node(f"sidecar~10.0.0.1~{pod}.default~default.svc.cluster.local", {})


def lines(fleet: Fleet) -> dict[str, TypeStatus]:
    [account] = fleet.streams()
    return account.types


class Booked:
    """A client whose every event is booked, each at the next second."""

    def __init__(self) -> None:
        self.client = DeltaClient(cluster("a"), cluster("b"), endpoints("a"), listener("l"))
        self.fleet = Fleet()
        self.fleet.connected(1, node("pod"), "delta", 0.0)
        self.at = 0.0

    def book(self, *events: Event) -> None:
        self.at += 1
        self.fleet.record(1, events, self.at)

    def said(self, heard: list[Heard]) -> Heard:
        """Book what the client said, and that it was answered by ``heard``."""
        self.book(*self.client.events)
        self.client.events.clear()
        for each in heard:
            self.book(self.client.sent[each.nonce])
        return heard[0]


def test_an_accepted_response_makes_a_type_synced() -> None:
    booked = Booked()
    first = booked.said(booked.client.ask(CDS))
    before = lines(booked.fleet)[CDS].synced

    booked.client.ack(first)
    booked.book(*booked.client.events)

    line = lines(booked.fleet)[CDS]
    assert not before
    assert line.synced
    assert (line.wildcard, line.sent, line.acked, line.sent_at, line.acked_at) == (True, first.nonce, first.nonce, 2.0, 3.0)
    assert (line.resources, line.sent_bytes) == (2, len(first.raw))


def test_a_refused_response_says_what_and_why_and_is_counted() -> None:
    booked = Booked()
    first = booked.said(booked.client.ask(CDS))

    booked.client.nack(first, message="no such field")
    booked.book(*booked.client.events)

    line = lines(booked.fleet)[CDS]
    assert not line.synced
    assert (line.nacked, line.error, line.refused) == (first.nonce, "no such field", ("a", "b"))
    assert booked.fleet.rejects == {CDS: 1}


def test_names_asked_for_are_counted() -> None:
    booked = Booked()

    booked.said(booked.client.ask(EDS, "a", "missing"))

    line = lines(booked.fleet)[EDS]
    assert (line.wildcard, line.subscribed) == (False, 2)


def test_an_account_is_synced_when_all_its_types_are() -> None:
    booked = Booked()
    [account] = booked.fleet.streams()
    clusters = booked.said(booked.client.ask(CDS))
    listeners = booked.said(booked.client.ask(LDS))

    synced = []
    for each in (clusters, listeners):
        booked.client.ack(each)
        booked.book(*booked.client.events)
        booked.client.events.clear()
        synced.append(account.synced)

    assert synced == [False, True]


def test_a_closed_stream_has_no_account_and_its_late_events_are_dropped() -> None:
    booked = Booked()
    booked.fleet.connected(2, node("other"), "sotw", 1.0)

    booked.fleet.disconnected(1)
    booked.said(booked.client.ask(CDS))

    assert [account.connection for account in booked.fleet.streams()] == [2]
    assert booked.fleet.proxy_of(1) is None


def test_accounts_are_sorted_by_proxy() -> None:
    fleet = Fleet()

    for connection, pod in enumerate("bca"):
        fleet.connected(connection, node(pod), "delta", 0.0)

    assert [account.proxy.name for account in fleet.streams()] == sorted(account.proxy.name for account in fleet.streams())


def test_a_proxy_that_has_just_come_keeps_no_object_on_its_way() -> None:
    fleet = Fleet()
    fleet.connected(1, node("pod"), "delta", 100.0)

    assert fleet.lagging(1, CDS, False, since=99.0, now=101.0) is Progress.UNNEEDED  # noqa: FBT003
    assert fleet.lagging(1, CDS, False, since=99.0, now=111.0) is Progress.PENDING  # noqa: FBT003
    assert fleet.lagging(1, CDS, False, since=100.5, now=101.0) is Progress.PENDING  # noqa: FBT003


def test_what_others_change_all_the_time_has_an_object_with_whoever_has_accepted_it_since() -> None:
    booked = Booked()
    first = booked.said(booked.client.ask(CDS))  # sent at 2
    booked.client.ack(first)
    booked.book(*booked.client.events)

    overtaken = True
    assert booked.fleet.lagging(1, CDS, overtaken, since=1.5, now=99.0) is Progress.ACCEPTED
    assert booked.fleet.lagging(1, CDS, overtaken, since=2.5, now=99.0) is Progress.PENDING
    assert booked.fleet.lagging(1, CDS, not overtaken, since=1.5, now=99.0) is Progress.PENDING
