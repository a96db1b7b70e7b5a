"""A branch of a database: what its queries would give if some inputs were others. The database itself is only read, and never changed.

A value that the database has is taken where nothing that it was made from differs; as soon as something does, what it was made from is
looked at in the order of reading, as after a change, and the query runs again in the branch if one of these came out different.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Generator, Iterator
from typing import TypeAlias, TypeVar, cast

from controlplane.incremental.database import Database, Input, Query, QueryCall
from controlplane.incremental.engine import Engine
from controlplane.incremental.failures import Failed, ReadFailed, cycle
from controlplane.incremental.graph import Graph
from controlplane.incremental.nodes import ACTIVE, CLEAN, Defaulted, InputCell, QueryNode, Readable, Runnable

K = TypeVar("K")
V = TypeVar("V")
_LOOK_EVERY = 500  # nodes, when those are looked for that may differ


Evaluated: TypeAlias = Callable[[Runnable, tuple[object, ...]], QueryNode | None]


class Outdated(Exception):
    """The database has changed since the branch began: it has to begin anew."""


class _AllCells(defaultdict[Defaulted, dict[object, InputCell]]):
    """The cells of all inputs: those of the database, until the branch sets others."""

    def __init__(self, base: Graph) -> None:
        super().__init__()
        self._base = base

    def __missing__(self, into: Defaulted) -> dict[object, InputCell]:
        cells = self[into] = dict(self._base.cells.get(into, {}))
        return cells


class Branch(Database):
    """Another state of a database, by ``set``; what is asked of it changes nothing in the database."""

    def __init__(self, base: Database, beside: Branch | None = None) -> None:
        """Begin with what ``base`` has; what the branch ``beside`` has evaluated, and is the same here, is taken from there."""
        super().__init__()
        self.graph.cells = _AllCells(base.graph)
        self._branch_engine = _BranchEngine(self.graph, self, base.graph, beside.evaluated if beside else None)
        self.engine = self._branch_engine
        self._base = base
        self._began = base.changes

    def set(self, into: Input[K, V], key: K, value: V) -> bool:
        """Set ``key`` of ``into`` here; return whether that is a change."""
        self.engine.forbid_in_query("set")
        cell = self.graph.cells[into].get(key)
        old: V = into.default if cell is None else cell.value
        if old is value or old == value:
            return False
        own = InputCell(into, key)
        own.value = value
        if cell is not None and cell is self._base.graph.cells.get(into, {}).get(key):
            self._branch_engine.changed.append(cell)
        self.graph.cells[into][key] = own
        self._branch_engine.begin_anew()
        self.changes += 1
        return True

    def evaluated(self, query: Runnable, args: tuple[object, ...]) -> QueryNode | None:
        """Return what was evaluated in this branch, if it was: for a branch beside it."""
        return self._branch_engine.evaluated(query, args)

    def differing(self) -> Iterator[QueryCall]:
        """Yield what the database has evaluated and may come out different here."""
        return (QueryCall(cast("Query[..., object]", node.query), node.args) for node in self._branch_engine.differing_nodes())

    def give_way(self) -> None:
        """Let the piece of work end here, if it is to end: to be called where much is asked for that needs no query to run."""
        self._branch_engine.give_way()

    def in_pieces(self, work: Callable[[], None], stop: Callable[[], Callable[[], bool]]) -> Generator[None, None, None]:
        """Do ``work`` on this branch; where ``stop``, made anew for each piece, says so, yield in the middle of a query.

        Raises Outdated where the database has changed meanwhile.
        """
        done = False
        while not done:
            done = self.engine.advance(work, stop())
            if not done:
                yield
                if self._base.changes != self._began:
                    self.engine.abandon()
                    raise Outdated
                self._branch_engine.look_at_base()


class _BranchEngine(Engine):
    """Evaluates queries in a branch of the graph ``base``."""

    def __init__(self, graph: Graph, database: Database, base: Graph, beside: Evaluated | None) -> None:
        super().__init__(graph, database)
        self._beside = beside
        self._base = base
        self.changed: list[InputCell] = []  # cells of the database whose value is another one here
        self._own: dict[tuple[Runnable, tuple[object, ...]], QueryNode] = {}
        self._differing: set[QueryNode] | None = None  # nodes of the database that may come out different; None: not looked for
        self._links = -1  # of the database when they were looked for

    def begin_anew(self) -> None:
        """Forget what was evaluated: an input has been set."""
        self._own.clear()
        self._differing = None

    def look_at_base(self) -> None:
        """Take in that the database may have evaluated more since: its inputs are the same, but other nodes have read them."""
        if self._base.links != self._links:
            self._differing = None

    def give_way(self) -> None:
        """Pause, if ``stop`` says so."""
        if self.stop():
            self._pause()

    def read(self, query: Runnable, args: tuple[object, ...]) -> QueryNode:
        """Return a node with the value of ``query`` with ``args``: the database's, where that is the same."""
        reads = self.reads
        node = self._read(query, args)
        if reads is not None:
            reads[node] = None
        return node

    def _read(self, query: Runnable, args: tuple[object, ...]) -> QueryNode:
        own = self._own.get((query, args))
        if own is not None:
            return own if own.state == CLEAN else _cyclic(own)
        base = self._base.nodes.get(query, {}).get(args)
        if base is not None and base.state == CLEAN:
            return self._evaluated(query, args, base) if base in self.differing_nodes() else base
        other = self._beside(query, args) if self._beside else None
        return self._evaluated(query, args, other)

    def evaluated(self, query: Runnable, args: tuple[object, ...]) -> QueryNode | None:
        """Return what was evaluated in this branch, if it was."""
        own = self._own.get((query, args))
        return own if own is not None and own.state == CLEAN else None

    def differing_nodes(self) -> set[QueryNode]:
        while self._differing is None:
            links = self._links = self._base.links
            found = self._dependents_of_changes()
            if self._base.links == links:  # others may have had a turn
                self._differing = found
        return self._differing

    def _dependents_of_changes(self) -> set[QueryNode]:
        pending: list[Readable] = list(self.changed)
        found: set[QueryNode] = set()
        while pending:
            new = [node for node in pending.pop().dependents if node not in found]
            found.update(new)
            pending += new
            if len(found) % _LOOK_EVERY < len(new):
                self.give_way()
        return found

    def _evaluated(self, query: Runnable, args: tuple[object, ...], base: QueryNode | None) -> QueryNode:
        node = self._own[query, args] = QueryNode(query, args)
        node.state = ACTIVE
        if self.completed:
            self.give_way()
        outside, self.reads = self.reads, None
        try:
            if base is not None and all(self._is_same(source) for source in base.reads):
                node.value, node.reads = base.value, base.reads
            else:
                self.reads = {}
                value = self._value(query, args)
                node.value = base.value if base is not None and base.value == value else value
                node.reads = tuple(self.reads or ())
        except BaseException:
            del self._own[query, args]
            raise
        finally:
            self.reads = outside
        self.completed += 1
        node.state = CLEAN
        return node

    def _is_same(self, source: Readable) -> bool:
        if isinstance(source, InputCell):
            cell = self.graph.cells[source.input].get(source.key)
            return cell is source or (source.input.default if cell is None else cell.value) == source.value
        if not isinstance(source, QueryNode):
            raise TypeError(source)
        value = self.read(source.query, source.args).value
        return value is source.value or value == source.value

    def _value(self, query: Runnable, args: tuple[object, ...]) -> object:
        self.runs[query.name] += 1
        try:
            return query.function(self.database, *args)
        except ReadFailed as read:
            return read.failed
        except RecursionError:
            raise  # how much stack was left is not a property of the query
        except Exception as error:  # noqa: BLE001 - whatever a query raises becomes its value, as in the database
            return Failed.of(query.name, args, error)


def _cyclic(node: QueryNode) -> QueryNode:
    """Return a node with the failure of ``node``, which was asked for by what it reads itself."""
    failed = QueryNode(node.query, node.args)
    failed.value = cycle([(node.query.name, node.args)])
    return failed
