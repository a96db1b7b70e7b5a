"""Eager queries: they run when an input is set, and keep a change that does not matter from marking what was made from them."""

from __future__ import annotations

import pytest

from controlplane.incremental.database import Database, Input, Misuse, eager_query, query

words = Input[str, str]("words", default="")


@eager_query
def length(db: Database, name: str) -> int:
    return len(words(db, name))


@query
def total(db: Database) -> int:
    return length(db, "a") + length(db, "b")


@eager_query
def too_high(db: Database) -> int:
    return total(db)


def watched() -> Database:
    db = Database()
    db.set(words, "a", "tea")
    db.watch(total)
    db.refresh()
    return db


def test_what_was_made_from_an_equal_value_is_not_even_looked_at() -> None:
    db = watched()

    db.set(words, "a", "sea")

    assert not db.graph.stale
    assert db.runs[length.name] == 3
    assert not db.refresh().changed


def test_another_value_marks_what_was_made_from_it() -> None:
    db = watched()

    db.set(words, "a", "coffee")

    [changed] = db.refresh().changed
    assert changed.query is total
    assert (total(db), db.runs[total.name]) == (6, 2)


def test_what_is_rolled_back_marks_nothing() -> None:
    db = watched()

    with db.transaction() as transaction:
        db.set(words, "a", "coffee")
        transaction.rollback()

    assert not db.graph.stale
    assert total(db) == 3


def test_it_reads_inputs_only() -> None:
    db = watched()

    with pytest.raises(Misuse, match=r"too_high\(\) is eager and reads another query"):
        too_high(db)
