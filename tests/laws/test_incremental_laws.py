"""Laws of the incremental database: whatever random programs did before, nothing depends on it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TypeAlias

from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from controlplane.incremental.database import Database, Failed, InputEntry, QueryCall
from controlplane.incremental.nodes import ACTIVE, CLEAN, DIRTY, QueryNode
from tests.support.incremental_programs import SIZE, Program, Value, keys, meaning, number_of, numbered, numbers, programs, queries
from tests.support.proofs import sampled

LAW = sampled(300, list(HealthCheck))


class Undo(Exception):
    """Raised within a transaction to end it."""


@dataclass
class World:
    """A database that runs ``program``, with what is known of it from outside."""

    program: Program
    db: Database = field(default_factory=Database)
    values: dict[int, int] = field(default_factory=dict)
    watched: dict[int, int] = field(default_factory=dict)
    reported: dict[int, Value] = field(default_factory=dict)
    failures: set[Failed] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.queries = queries(self.program)

    def put(self, key: int, value: int) -> None:
        changes = self.db.set(numbers, key, value)
        assert changes == (self.values.get(key, 0) != value)
        self.values[key] = value

    def put_all(self, values: Mapping[int, int]) -> None:
        for key, value in values.items():
            self.put(key, value)

    def reads(self, node: QueryNode) -> tuple[InputEntry | QueryCall, ...]:
        return self.db.reads(self.queries[number_of(node.query.name)])

    def worth(self, read: InputEntry | QueryCall) -> object:
        """Return the value of what was read, as it is now."""
        if isinstance(read, InputEntry):
            return self.values.get(int(str(read.key)), 0)
        return meaning(self.program, self.values)[number_of(read.query.name)]

    def watch(self, number: int) -> None:
        self.db.watch(self.queries[number])
        self.watched[number] = self.watched.get(number, 0) + 1

    def unwatch(self, number: int) -> None:
        if self.watched.get(number):
            self.db.unwatch(self.queries[number])
            self.watched[number] -= 1
            if not self.watched[number]:
                del self.watched[number]
                self.reported.pop(number, None)

    def ask(self, number: int) -> None:
        assert self.db.attempt(self.queries[number]) == meaning(self.program, self.values)[number]

    def refresh(self, runs: int | None = None) -> bool:
        """Refresh, interrupted after ``runs`` queries; what is reported is what a look from outside finds different."""
        left = iter(range(1_000 if runs is None else runs))
        report = self.db.refresh(lambda: next(left, None) is None)
        if not report.done:
            assert not report.changed
            assert not report.failed
            return False
        now = meaning(self.program, self.values)
        failures = self.failing()
        assert set(report.changed) == {QueryCall(self.queries[n], ()) for n in self.watched if now[n] != self.reported.get(n)}
        assert set(report.failed) == failures - self.failures
        assert len(report.failed) == len(set(report.failed))
        self.reported, self.failures = {number: now[number] for number in self.watched}, failures
        if self.db.graph.journal is None:
            assert set(self.nodes()) == self.needed()
        return True

    def collect(self) -> None:
        if self.db.graph.journal is None:
            self.db.collect()
            held = {node.query.name for node in self.nodes()}
            self.failures = {failed for failed in self.failures if failed.query in held}
            assert set(self.nodes()) == self.needed()

    def nodes(self) -> list[QueryNode]:
        return [node for asked in self.queries for node in self.db.graph.nodes[asked].values()]

    def needed(self) -> set[QueryNode]:
        """Return the nodes that are watched, and what was read for these."""
        found = {node for node in self.nodes() if node.watches}
        while more := {read for node in found for read in node.reads if isinstance(read, QueryNode)} - found:
            found |= more
        return found

    def failing(self) -> set[Failed]:
        values = [(node, node.value) for node in self.nodes() if isinstance(node.value, Failed)]
        return {failed for node, failed in values if failed.query == node.query.name}

    def transaction(self, changes: list[Change], ending: str) -> None:
        known = (dict(self.values), dict(self.watched), dict(self.reported), set(self.failures))
        before = dump(self.db)
        with suppress(Undo), self.db.transaction() as transaction:
            for change in changes:
                change(self)
            if ending == "rollback":
                transaction.rollback()
            if ending == "raise":
                raise Undo
        if ending != "commit":
            self.values, self.watched, self.reported, self.failures = known
            assert dump(self.db) == before


Change: TypeAlias = Callable[[World], object]


def sound(world: World) -> None:
    """Check what holds between any two calls: a clean value is the true one, and all that is stale is marked so."""
    graph = world.db.graph
    true = meaning(world.program, world.values)
    for key, cell in graph.cells[numbers].items():
        assert cell.value == world.values.get(key, 0)
        assert cell.value or cell.dependents or cell in graph.orphans
    assert all(node.watches for node in (*graph.stale, *graph.changed))
    for node in world.nodes():
        unclean = [source for source in node.reads if source.state != CLEAN]
        number = number_of(node.query.name)
        assert all(node in source.dependents for source in node.reads)
        assert all(node in dependent.reads for dependent in node.dependents)
        assert node.dependents or node.watches or node in graph.orphans
        assert node.watches == world.watched.get(number, 0)
        assert node.state == CLEAN or not node.watches or node in graph.stale
        if node.state == CLEAN:
            assert node.value == true[number]
            assert not unclean
        elif not node.state & DIRTY:
            assert set(unclean) <= set(node.stale or ()) <= set(node.reads)


def queries_read(node: QueryNode) -> list[QueryNode]:
    return [source for source in node.reads if isinstance(source, QueryNode)]


def dump(db: Database) -> object:
    """Return everything that a database holds, in its order, but what a paused refresh is in the middle of."""
    graph = db.graph
    nodes = [
        (node, id(node.value), node.reads, tuple(node.dependents), node.state & ~ACTIVE, tuple(node.stale or ()), node.watches)
        for table in graph.nodes.values()
        for node in table.values()
    ]
    cells = [(cell, id(cell.value), tuple(cell.dependents)) for table in graph.cells.values() for cell in table.values()]
    waiting = [list(held.items()) for held in (graph.changed, graph.failing)]
    return nodes, cells, list(graph.stale), list(graph.orphans), waiting, graph.journal


def change(method: Callable[..., object], *values: st.SearchStrategy[object]) -> st.SearchStrategy[Change]:
    return st.tuples(*values).map(lambda given: lambda world: method(world, *given))


def begun(program: Program, watched: frozenset[int], values: dict[int, int]) -> World:
    """Return a world in which some queries of ``program`` are watched and up to date."""
    world = World(program)
    for number in sorted(watched):
        world.watch(number)
    world.put_all(values)
    world.refresh()
    return world


small: st.SearchStrategy[Change] = st.one_of(
    change(World.put, keys, st.integers(0, 3)),
    change(World.watch, numbered),
    change(World.unwatch, numbered),
    change(World.ask, numbered),
    change(World.refresh, st.none() | st.integers(0, 4)),
    change(World.collect),
)
inputs = st.dictionaries(keys, st.integers(0, 3))
endings = st.sampled_from(["commit", "rollback", "raise"])
transactions = change(World.transaction, st.lists(small, min_size=2, max_size=8), endings)
histories = st.lists(small | transactions, min_size=6, max_size=24)
worlds = st.builds(begun, programs, st.frozensets(numbered, min_size=2), inputs)


@LAW
@given(worlds, histories)
def test_a_value_does_not_depend_on_history(world: World, history: list[Change]) -> None:
    for step in history:
        step(world)
        sound(world)

    fresh = World(world.program)
    fresh.put_all(world.values)
    for number, (asked, scratch) in enumerate(zip(world.queries, fresh.queries, strict=True)):
        world.ask(number)
        fresh.ask(number)
        assert [str(read) for read in world.db.reads(asked)] == [str(read) for read in fresh.db.reads(scratch)]


@LAW
@given(programs, inputs, st.permutations(range(SIZE)))
def test_a_value_does_not_depend_on_what_was_asked_first(program: Program, values: dict[int, int], order: list[int]) -> None:
    world = World(program)
    world.put_all(values)

    for number in order:
        world.ask(number)


@LAW
@given(worlds, st.lists(inputs, min_size=2, max_size=5))
def test_nothing_runs_whose_reads_did_not_change(world: World, batches: list[dict[int, int]]) -> None:
    for batch in batches:
        read = {node.query.name: [(read, world.worth(read)) for read in world.reads(node)] for node in world.nodes()}
        runs = world.db.runs.copy()
        world.put_all(batch)
        world.refresh()

        # Eager ones run with each input that is set, so that what has read them may have seen a value there and back.
        lazy = {node.query.name for node in world.nodes() if not any(each.query.eager for each in (node, *queries_read(node)))}
        ran = {name: count for name, count in (world.db.runs - runs).items() if name in lazy}
        assert all(count == 1 for count in ran.values())
        assert all(any(world.worth(source) != value for source, value in read[name]) for name in ran if name in read)


@LAW
@given(worlds, inputs, st.integers(0, 3))
def test_a_refresh_goes_on_where_it_was_interrupted(world: World, values: dict[int, int], runs: int) -> None:
    world.put_all(values)

    refreshes = 1
    while not world.refresh(runs):
        sound(world)
        refreshes += 1

    assert refreshes <= SIZE + 1


@LAW
@given(programs, st.frozensets(numbered, min_size=2), st.lists(inputs, min_size=1, max_size=4), st.integers(0, 3))
def test_a_refresh_in_slices_runs_what_a_whole_one_runs(
    program: Program, watched: frozenset[int], batches: list[dict[int, int]], runs: int
) -> None:
    whole, sliced = (begun(program, watched, {}) for _ in range(2))
    for batch in batches:
        for world in (whole, sliced):
            world.put_all(batch)
        whole.refresh()
        while not sliced.refresh(runs):
            sound(sliced)

    assert sliced.db.runs == whole.db.runs


@LAW
@given(worlds, inputs, st.integers(0, 3), st.lists(numbered, min_size=1, max_size=4))
def test_who_asks_while_a_refresh_is_paused_gets_what_is_so(world: World, values: dict[int, int], runs: int, asked: list[int]) -> None:
    world.put_all(values)

    while not world.refresh(runs):
        for number in asked:
            world.ask(number)
        sound(world)


@LAW
@given(worlds, st.lists(small, max_size=6), st.lists(small, min_size=4, max_size=12), st.sampled_from(["rollback", "raise"]))
def test_what_is_rolled_back_leaves_no_trace(world: World, history: list[Change], within: list[Change], ending: str) -> None:
    for step in history:
        step(world)

    before = dump(world.db)
    world.transaction(within, ending)

    assert dump(world.db) == before
