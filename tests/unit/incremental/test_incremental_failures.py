"""Queries that raise, queries that read themselves, queries that read very deep."""

from __future__ import annotations

from itertools import pairwise

import pytest

from controlplane.incremental.database import Database, Failed, Input, InputEntry, Query, QueryCall, ReadFailed, Refresh, query

prices = Input[str, int]("prices", default=0)
baskets = Input[str, tuple[str, ...]]("baskets", default=())
edges = Input[str, tuple[str, ...]]("edges", default=())
letters = Input[int, str]("letters", default="")


@query
def reach(db: Database, node: str) -> frozenset[str]:
    """Return all nodes below ``node``."""
    return frozenset({node}).union(*[reach(db, other) for other in edges(db, node)])


@query
def bold(db: Database, node: str) -> str:
    """Return ``node``'s first child that is not failed, and swallow whatever can be."""
    for other in edges(db, node):
        try:
            found = db.attempt(bold, other)
        except Exception as error:  # noqa: BLE001 - a cycle is not to be caught
            return repr(error)
        if not isinstance(found, Failed):
            return other
    return node


@query
def depth(db: Database, level: int) -> int:
    """Return how many letters there are from ``level`` down."""
    return len(letters(db, level)) + (depth(db, level - 1) if level else 0)


@query
def bottomless(db: Database, level: int) -> int:
    """Never return."""
    return bottomless(db, level + 1)


@query
def recursive(db: Database, name: str) -> int:
    """Call itself, as a function does, if ``name`` leads to itself."""

    def length(name: str) -> int:
        below = edges(db, name)
        return 1 + length(below[0]) if below else 1

    return length(name)


@query
def recursive_below(db: Database, level: int) -> int:
    """Ask ``recursive`` from ``level`` queries above it."""
    return recursive_below(db, level - 1) if level else recursive(db, "node-0")


@query
def share(db: Database, name: str) -> int:
    """Return how many of ``name`` a hundred buys."""
    return 100 // prices(db, name)


@query
def shares(db: Database, basket: str) -> tuple[int | str, ...]:
    """Return the share of each thing in ``basket``; of what has none, why."""
    found = [db.attempt(share, name) for name in baskets(db, basket)]
    return tuple([one.message if isinstance(one, Failed) else one for one in found])


@query
def sum_of_shares(db: Database, basket: str) -> int:
    """Return the sum of the shares in ``basket``."""
    return sum([share(db, name) for name in baskets(db, basket)])


def shop(**costs: int) -> Database:
    db = Database()
    for name, cost in costs.items():
        db.set(prices, name, cost)
    db.set(baskets, "mine", tuple(costs))
    return db


def ring(*nodes: str) -> Database:
    db = Database()
    for node, after in zip(nodes, (*nodes[1:], nodes[0]), strict=True):
        db.set(edges, node, (after,))
    return db


def test_a_query_that_raises_is_failed_and_reported_once() -> None:
    db = shop(tea=5, milk=0)
    db.watch(share, "tea")
    db.watch(sum_of_shares, "mine")
    failed = Failed(share.name, ("milk",), "ZeroDivisionError", "integer division or modulo by zero")

    first = db.refresh()
    db.set(prices, "tea", 10)
    second = db.refresh()

    assert first.failed == (failed,)
    assert first.failed[0].where.startswith(__file__)
    assert second == Refresh(changed=(QueryCall(share, ("tea",)),))
    assert db.attempt(sum_of_shares, "mine") == failed
    with pytest.raises(ReadFailed, match="modulo by zero"):
        sum_of_shares(db, "mine")


def test_a_failed_query_runs_again_when_its_reads_change() -> None:
    db = shop(tea=5, milk=0)
    db.watch(sum_of_shares, "mine")
    db.refresh()

    db.set(prices, "milk", 50)
    mended = db.refresh()
    db.set(prices, "milk", 0)
    broken = db.refresh()

    assert mended == Refresh(changed=(QueryCall(sum_of_shares, ("mine",)),))
    assert [failed.args for failed in broken.failed] == [("milk",)]


def test_a_query_can_go_on_without_one_that_failed() -> None:
    db = shop(tea=5, milk=0)

    assert shares(db, "mine") == (20, "integer division or modulo by zero")
    db.set(prices, "milk", 50)
    assert shares(db, "mine") == (20, 2)


def test_who_stops_the_program_in_a_query_leaves_it_to_be_asked_again() -> None:
    db = shop(tea=5)
    raised = [KeyboardInterrupt]

    @query
    def stopped(db: Database) -> int:
        if raised:
            raise raised.pop()
        return prices(db, "tea")

    with pytest.raises(KeyboardInterrupt):
        stopped(db)

    assert stopped(db) == 5
    assert db.set(prices, "tea", 6)
    assert stopped(db) == 6


@pytest.mark.parametrize("order", ["abc", "acb", "bac", "bca", "cab", "cba"])
@pytest.mark.parametrize("asked", [reach, bold])
def test_a_cycle_has_one_name_wherever_it_is_entered(asked: Query[[str], object], order: str) -> None:
    db = ring("c", "a", "b")
    name = asked.name

    found = [db.attempt(asked, node) for node in order]

    assert found == [Failed(name, ("a",), "Cycle", f"{name}('a') reads {name}('b') reads {name}('c') reads {name}('a')")] * 3


def test_who_reads_a_cycle_without_being_part_of_it_can_go_on() -> None:
    db = ring("a", "b")
    db.set(edges, "outside", ("a", "leaf"))

    assert bold(db, "outside") == "leaf"


def test_a_cycle_is_reported_once_and_ends_when_it_is_broken() -> None:
    db = ring("a", "b", "c")
    watched = {db.watch(reach, node) for node in "abc"}

    closed = db.refresh()
    db.set(edges, "b", ())
    broken = db.refresh()

    assert [failed.message for failed in closed.failed] == [f"{reach}('a') reads {reach}('b') reads {reach}('c') reads {reach}('a')"]
    assert set(closed.changed) == set(broken.changed) == watched
    assert reach(db, "c") == {"a", "b", "c"}


def test_a_cycle_that_closes_below_a_value_leaves_it_made_from_what_leads_there() -> None:
    db = Database()
    db.set(edges, "a", ("b", "c"))
    reach(db, "a")
    db.runs.clear()
    db.set(edges, "b", ("a",))
    db.set(edges, "c", ("d",))

    found = db.attempt(reach, "a")

    assert found == Failed(reach.name, ("a",), "Cycle", f"{reach}('a') reads {reach}('b') reads {reach}('a')")
    assert db.reads(reach, "a") == (InputEntry(edges, "a"), QueryCall(reach, ("b",)))
    assert db.runs == {reach.name: 1}


def test_a_cycle_that_nobody_watches_is_dropped() -> None:
    db = ring("a", "b", "c")
    db.set(edges, "outside", ("b",))
    db.watch(reach, "outside")
    db.refresh()
    kept = len(db.graph.nodes[reach])

    db.set(edges, "outside", ())
    db.refresh()

    assert kept == 4
    assert [node.args for node in db.graph.nodes[reach].values()] == [("outside",)]


def test_depth_is_not_limited_by_the_stack() -> None:
    db = Database()
    db.watch(depth, 2_000)
    db.refresh()
    db.set(letters, 0, "ab")
    db.set(letters, 1_000, "c")

    changed = db.refresh()

    assert changed == Refresh(changed=(QueryCall(depth, (2_000,)),))
    assert depth(db, 2_000) == 3


@pytest.mark.parametrize("level", [100, 200, 300, 400])
def test_how_deep_a_query_is_asked_does_not_change_what_it_can_do(level: int) -> None:
    db = Database()
    nodes = [f"node-{number}" for number in range(500)]
    for node, below in pairwise(nodes):
        db.set(edges, node, (below,))

    assert recursive_below(db, level) == 500
    assert db.attempt(recursive_below, level) == db.attempt(recursive, "node-0")


def test_what_has_no_bottom_is_failed_and_disturbs_no_other() -> None:
    db = Database()
    db.watch(bottomless, 0)
    db.watch(depth, 5)

    report = db.refresh()
    db.set(letters, 3, "x")

    assert report.failed == (Failed(bottomless.name, (0,), "RecursionError", "maximum recursion depth exceeded"),)
    assert db.refresh() == Refresh(changed=(QueryCall(depth, (5,)),))


def test_a_cycle_longer_than_the_stack_is_failed_until_it_is_broken() -> None:
    nodes = [f"node-{number:03}" for number in range(400)]
    db = ring(*nodes)
    watched = db.watch(reach, "node-000")

    closed = db.refresh()
    db.set(edges, "node-399", ())
    broken = db.refresh()

    assert [failed.exception for failed in closed.failed] == ["RecursionError"]
    assert broken == Refresh(changed=(watched,))
    assert reach(db, "node-000") == frozenset(nodes)


def test_a_query_that_overruns_the_stack_by_itself_is_failed_until_its_reads_change() -> None:
    db = ring("a", "b")
    db.watch(recursive, "a")

    failed = db.refresh().failed
    again = db.refresh()
    db.set(edges, "b", ())

    assert failed == (Failed(recursive.name, ("a",), "RecursionError", "maximum recursion depth exceeded"),)
    assert again == Refresh()
    assert recursive(db, "a") == 2
