"""Transactions of the incremental database, and what they and time leave in memory."""

from __future__ import annotations

import gc
import tracemalloc

import pytest

from controlplane.incremental.database import Database, Input, Misuse, QueryCall, Refresh, query

edges = Input[str, tuple[str, ...]]("edges", default=())
names = Input[int, str | None]("names", default=None)
index = Input[str, frozenset[int]]("index", default=frozenset())


@query
def reach(db: Database, node: str) -> frozenset[str]:
    """Return all nodes below ``node``."""
    return frozenset({node}).union(*[reach(db, other) for other in edges(db, node)])


@query
def service(db: Database, number: int) -> str:
    """Return the name of service ``number``."""
    return f"{names(db, number)}.svc"


@query
def services(db: Database) -> tuple[str, ...]:
    """Return all services."""
    return tuple([service(db, number) for number in sorted(index(db, "all"))])


def test_a_transaction_is_seen_inside_and_kept_at_its_end() -> None:
    db = Database()
    db.watch(reach, "a")
    db.refresh()

    with db.transaction():
        db.set(edges, "a", ("b",))
        inside = reach(db, "a")

    assert inside == reach(db, "a") == frozenset("ab")
    assert db.refresh().changed == (QueryCall(reach, ("a",)),)


def test_a_plan_is_a_transaction_that_is_rolled_back() -> None:
    db = Database()
    db.set(edges, "a", ("b",))
    db.watch(reach, "a")
    db.refresh()
    before = db.peek(reach, "a")

    with db.transaction() as transaction:
        db.set(edges, "b", ("c",))
        planned = db.refresh()
        after = db.peek(reach, "a")
        transaction.rollback()
    runs = db.runs.copy()

    assert planned.changed == (QueryCall(reach, ("a",)),)
    assert after == frozenset("abc")
    assert db.peek(reach, "a") is before
    assert db.refresh() == Refresh()
    assert db.runs == runs


def test_an_exception_rolls_a_transaction_back() -> None:
    db = Database()

    def set_and_fail() -> float:
        db.set(edges, "a", ("b",))
        return 1 / 0

    with pytest.raises(ZeroDivisionError), db.transaction():
        set_and_fail()

    assert edges(db, "a") == ()


def test_what_was_stale_before_a_transaction_is_no_staler_after_it() -> None:
    db = Database()
    db.set(edges, "a", ("b",))
    db.set(edges, "b", ("c",))
    reach(db, "a")
    db.set(edges, "c", ("d",))
    db.runs.clear()

    with db.transaction() as transaction:
        db.set(edges, "b", ())
        reach(db, "b")
        transaction.rollback()
    db.set(edges, "c", ())

    assert reach(db, "a") == frozenset("abc")
    assert db.runs == {reach.name: 2}


def test_a_block_that_has_rolled_back_goes_on_as_a_transaction() -> None:
    db = Database()

    with db.transaction() as transaction:
        db.set(edges, "a", ("b",))
        transaction.rollback()
        db.set(edges, "a", ("c",))

    assert edges(db, "a") == ("c",)


def test_transactions_do_not_nest() -> None:
    db = Database()

    with db.transaction():
        with pytest.raises(Misuse):
            db.transaction().__enter__()
        with pytest.raises(Misuse):
            db.collect()
        db.set(edges, "a", ("b",))

    assert edges(db, "a") == ("b",)


def test_memory_is_flat_over_services_that_come_and_go() -> None:
    db = Database()
    db.watch(services)
    sizes = []

    tracemalloc.start()
    for _ in range(10):
        for present in (range(1_000), range(0)):
            db.set(index, "all", frozenset(present))
            for number in range(1_000):
                db.set(names, number, f"service-{number}" if number in present else None)
            db.refresh()
        gc.collect()
        sizes.append(tracemalloc.get_traced_memory()[0])
    tracemalloc.stop()

    assert not db.graph.nodes[service]
    assert not db.graph.cells[names]
    assert sizes[-1] - sizes[0] < 20_000  # what else this process does may weigh on one round, not on all that follow
