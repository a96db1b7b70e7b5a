"""The incremental database: inputs, queries, what runs again and what does not, what is reported and what is dropped."""

from __future__ import annotations

from collections.abc import Hashable

import pytest

from controlplane.incremental.database import Database, Failed, Input, InputEntry, Misuse, QueryCall, Refresh, query

prices = Input[str, int]("prices", default=0)
baskets = Input[str, tuple[str, ...]]("baskets", default=())


@query
def price(db: Database, name: str) -> int:
    """Return the price of ``name`` in cents."""
    return prices(db, name)


@query
def dear(db: Database, name: str) -> bool:
    """Return whether ``name`` costs much."""
    return price(db, name) > 100


@query
def dear_ones(db: Database, basket: str) -> tuple[str, ...]:
    """Return the dear things in ``basket``."""
    return tuple([name for name in baskets(db, basket) if dear(db, name)])


def shop(**costs: int) -> Database:
    db = Database()
    for name, cost in costs.items():
        db.set(prices, name, cost)
    db.set(baskets, "mine", tuple(costs))
    return db


def test_an_input_that_nobody_set_has_its_default() -> None:
    db = Database()

    assert prices(db, "tea") == 0
    assert price(db, "tea") == 0


def test_a_query_is_called_by_its_module_and_its_own_name() -> None:
    def fees(db: Database) -> int:
        return prices(db, "fees")

    fees.__module__ = "controlplane.mesh.routing.fees"

    assert price.name == f"{__name__}.price"
    assert query(fees).name == "mesh.routing.fees.fees"  # without the package, which is the same for all


def test_setting_an_equal_value_is_no_change() -> None:
    db = shop(tea=5)

    assert not db.set(prices, "tea", 5)
    assert not db.set(prices, "milk", 0)
    assert db.set(prices, "tea", 6)


def test_a_query_runs_once_for_each_of_its_arguments() -> None:
    db = shop(tea=5, milk=2)

    values = [price(db, name) for name in ("tea", "milk", "tea", "milk")]

    assert values == [5, 2, 5, 2]
    assert db.runs == {price.name: 2}


def test_only_what_reads_a_change_runs_again() -> None:
    db = shop(tea=500, milk=2)
    dear_ones(db, "mine")
    db.runs.clear()

    db.set(prices, "milk", 300)

    assert dear_ones(db, "mine") == ("tea", "milk")
    assert db.runs == {price.name: 1, dear.name: 1, dear_ones.name: 1}


def test_what_comes_out_equal_stops_the_change() -> None:
    db = shop(tea=500, milk=2)
    before = dear_ones(db, "mine")
    db.runs.clear()

    db.set(prices, "milk", 3)

    assert dear_ones(db, "mine") is before
    assert db.runs == {price.name: 1, dear.name: 1}


def test_an_equal_value_leaves_the_old_object_in_place() -> None:
    db = shop(tea=500, milk=2)
    before = dear_ones(db, "mine")

    db.set(baskets, "mine", ("tea",))

    assert dear_ones(db, "mine") is before


def test_what_is_no_longer_read_no_longer_matters() -> None:
    db = shop(tea=500, milk=2)
    dear_ones(db, "mine")
    db.set(baskets, "mine", ("tea",))
    dear_ones(db, "mine")
    db.runs.clear()

    db.set(prices, "milk", 300)
    dear_ones(db, "mine")

    assert not db.runs


def test_what_may_no_longer_be_read_does_not_run_before_that_is_known() -> None:
    db = shop(tea=500, milk=2)
    db.set(baskets, "chosen", ("tea",))

    @query
    def choice(db: Database) -> str:
        return baskets(db, "chosen")[0]

    @query
    def chosen(db: Database) -> bool:
        return dear(db, "tea") if choice(db) == "tea" else dear(db, "milk")

    chosen(db)
    db.runs.clear()
    db.set(prices, "tea", 501)
    db.set(baskets, "chosen", ("milk",))

    assert not chosen(db)
    assert db.runs == {choice.name: 1, chosen.name: 1, dear.name: 1, price.name: 1}


def test_a_thousand_queries_may_read_one_value() -> None:
    db = shop(tea=5)

    @query
    def times(db: Database, number: int) -> int:
        return number * price(db, "tea")

    watched = [db.watch(times, number) for number in range(1_000)]
    db.refresh()
    for number in range(500):
        db.unwatch(times, number)
    with db.transaction() as transaction:
        db.set(prices, "tea", 7)
        db.refresh()
        transaction.rollback()
    db.runs.clear()

    db.set(prices, "tea", 6)
    report = db.refresh()

    assert set(report.changed) == set(watched[500:])
    assert db.runs[price.name] == 1
    assert db.peek(times, 999) == 5_994


def test_one_change_below_a_thousand_reads_runs_one_query() -> None:
    db = shop(**{f"thing-{number}": number for number in range(1_000)})
    db.watch(dear_ones, "mine")
    db.refresh()
    db.runs.clear()

    db.set(prices, "thing-7", 8)
    report = db.refresh()

    assert db.runs == {price.name: 1, dear.name: 1}
    assert report == Refresh()


def test_a_refresh_reports_the_watched_queries_that_changed() -> None:
    db = shop(tea=500, milk=2)
    tea, milk = db.watch(price, "tea"), db.watch(price, "milk")
    first = db.refresh()

    db.set(prices, "milk", 3)
    second = db.refresh()

    assert first == Refresh(changed=(tea, milk))
    assert second == Refresh(changed=(milk,))
    assert milk == (price, ("milk",))
    assert db.refresh() == Refresh()


def test_a_change_there_and_back_is_none() -> None:
    db = shop(tea=5)
    db.watch(price, "tea")
    db.refresh()

    db.set(prices, "tea", 6)
    price(db, "tea")
    db.set(prices, "tea", 5)

    assert db.refresh() == Refresh()


def test_an_interrupted_refresh_goes_on_and_loses_nothing() -> None:
    db = shop(tea=500, milk=2, rice=3)
    watched = {db.watch(price, name) for name in ("tea", "milk", "rice")}

    interrupted = [db.refresh(lambda: True) for _ in range(2)]
    runs = db.runs[price.name]
    last = db.refresh(lambda: True)

    assert interrupted == [Refresh(done=False)] * 2
    assert runs == 2
    assert set(last.changed) == watched
    assert last.done


def test_an_interrupted_refresh_shows_the_old_values_to_who_only_peeks() -> None:
    db = shop(tea=500, milk=2)
    for name in ("tea", "milk"):
        db.watch(price, name)
    db.refresh()
    db.set(prices, "tea", 501)
    db.set(prices, "milk", 3)

    db.refresh(lambda: True)

    assert (db.peek(price, "tea"), db.peek(price, "milk")) == (501, 2)
    with pytest.raises(LookupError):
        db.peek(price, "rice")


def test_a_watch_counts() -> None:
    db = shop(tea=5)
    db.watch(price, "tea")
    db.watch(price, "tea")
    db.refresh()
    db.unwatch(price, "tea")

    db.set(prices, "tea", 6)
    kept = db.refresh()
    db.unwatch(price, "tea")
    db.set(prices, "tea", 7)

    assert kept.changed == (QueryCall(price, ("tea",)),)
    assert db.refresh() == Refresh()
    with pytest.raises(Misuse):
        db.unwatch(price, "tea")


def test_reads_tell_what_a_value_was_made_from_in_order() -> None:
    db = shop(tea=500, milk=2)

    assert db.reads(dear_ones, "mine") == (InputEntry(baskets, "mine"), QueryCall(dear, ("tea",)), QueryCall(dear, ("milk",)))
    assert db.sources(dear_ones, "mine") == (InputEntry(baskets, "mine"), InputEntry(prices, "tea"), InputEntry(prices, "milk"))


def test_a_query_only_asks() -> None:
    db = shop(tea=5)

    @query
    def sets(db: Database) -> bool:
        return db.set(prices, "tea", 6)

    @query
    def refreshes(db: Database) -> Refresh:
        return db.refresh()

    assert db.attempt(sets) == Failed(sets.name, (), "Misuse", f"set within the query {sets.name}()")
    assert db.attempt(refreshes) == Failed(refreshes.name, (), "Misuse", f"refresh within the query {refreshes.name}()")
    assert prices(db, "tea") == 5


def test_arguments_are_positional_and_hashable() -> None:
    db = Database()

    @query
    def of(_: Database, what: Hashable) -> str:
        return str(what)

    with pytest.raises(Misuse):
        price(db, name="tea")
    with pytest.raises(TypeError):
        of(db, [])  # type: ignore[arg-type]
