"""The incremental database: inputs are set, queries are asked, and only what a change touches runs again.

An ``Input`` holds values by key. A query is a plain function of the database and hashable arguments, decorated with
``query``; what it reads through the database is recorded, and it runs again only when some of that came out different::

    prices = Input[str, int]("prices", default=0)

    @query
    def total(db: Database, first: str, second: str) -> int:
        return prices(db, first) + prices(db, second)

Values are frozen and compared by ``==``; queries are deterministic, and read nothing but their arguments and the database.
What a query raises becomes its value, ``Failed``. Nothing here depends on history: a value is what a new database with the
same inputs would give. Queries may read each other some 3,000 deep, however short Python's stack; a cycle has to fit into
it (some 140 queries). What is longer is ``Failed`` in a refresh and tried again by every next one, and a ``RecursionError`` to
who asks for it otherwise.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Concatenate, Generic, NamedTuple, ParamSpec, TypeVar, cast

from controlplane.incremental.engine import Engine, never, too_deep
from controlplane.incremental.failures import Failed, Misuse, ReadFailed
from controlplane.incremental.graph import Graph
from controlplane.incremental.nodes import UNSET, InputCell, QueryNode, Readable, all_dependents, all_reads
from controlplane.incremental.transactions import Transaction

__all__ = ["Database", "Failed", "Input", "InputEntry", "Misuse", "Query", "QueryCall", "ReadFailed", "Refresh", "eager_query", "query"]

K = TypeVar("K")
V = TypeVar("V")
P = ParamSpec("P")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)
_PACKAGE = f"{__name__.partition('.')[0]}."


class Input(Generic[K, V]):
    """Values that are set from outside, by key; a key that nobody set has the value ``default``."""

    __slots__ = ("default", "name")

    def __init__(self, name: str, *, default: V) -> None:
        """Declare an input; done once, in a module."""
        self.name = name
        self.default = default

    def __call__(self, db: Database, key: K) -> V:
        """Return the value of ``key``, and record that the running query has read it."""
        cell = db.graph.cells[self].get(key)
        reads = db.engine.reads
        if cell is None:
            if reads is None:
                return self.default
            cell = db.graph.cell(self, key)
        if reads is not None:
            reads[cell] = None
        value: V = cell.value
        return value

    def __repr__(self) -> str:
        """Return the input's name."""
        return self.name


class Query(Generic[P, R_co]):
    """A function whose values are kept, made by the decorator ``query`` and called as the function is.

    Its ``name`` is that of its module, without the package, and its own: ``mesh.registry.endpoints.endpoints`` say, which
    tells where to look when it has failed or runs too often.
    """

    def __init__(self, function: Callable[Concatenate[Database, P], R_co], *, eager: bool = False) -> None:
        """Keep the values of ``function``."""
        self.eager = eager
        self.name = f"{function.__module__.removeprefix(_PACKAGE)}.{function.__name__}"
        self.function = function
        self.__doc__ = function.__doc__

    def __call__(self, db: Database, /, *args: P.args, **kwargs: P.kwargs) -> R_co:
        """Return the value for ``args``; raise ``ReadFailed`` if it is ``Failed``."""
        if kwargs:
            raise Misuse(f"{self.name} takes positional arguments only")
        value: R_co = db.engine.read(self, args).value
        if isinstance(value, Failed):
            raise ReadFailed(value)
        return value

    def __repr__(self) -> str:
        """Return the query's name."""
        return self.name


def query(function: Callable[Concatenate[Database, P], R]) -> Query[P, R]:
    """Return ``function`` as a query."""
    return Query(function)


def eager_query(function: Callable[Concatenate[Database, P], R]) -> Query[P, R]:
    """Return ``function``, which reads inputs only, as a query that runs again as soon as one of these changes.

    What was made from its value is looked at only if that came out different: for the few lines of an object that much depends on.
    """
    return Query(function, eager=True)


class InputEntry(NamedTuple):
    """One key of an input."""

    input: Input[Any, Any]
    key: object


class QueryCall(NamedTuple):
    """A query with its arguments."""

    query: Query[..., object]
    args: tuple[object, ...]


@dataclass(frozen=True, slots=True)
class Refresh:
    """What a refresh brought: watched queries whose value has changed since it was last reported, and what failed anew.

    Not ``done``, it was told to stop and reports nothing yet: the next one that is done does.
    """

    changed: tuple[QueryCall, ...] = ()
    failed: tuple[Failed, ...] = ()
    done: bool = True


class Database:
    """Inputs, and the queries asked about them."""

    def __init__(self) -> None:
        """Begin with every input at its default."""
        self.graph = Graph()  # for Input and Query; not for whoever uses them
        self.engine = Engine(self.graph, self)
        self.changes = 0  # of inputs: as long as this is the same, so is every answer

    @property
    def runs(self) -> Counter[str]:
        """How often a query of each name has run."""
        return self.engine.runs

    def set(self, into: Input[K, V], key: K, value: V) -> bool:
        """Set ``key`` of ``into``; return whether that is a change. Setting the default forgets the key.

        A change abandons the queries that a refresh was stopped in.
        """
        self.engine.forbid_in_query("set")
        cell = self.graph.cells[into].get(key)
        old: V = into.default if cell is None else cell.value
        if old is value or old == value:
            return False
        self.engine.abandon()
        self.changes += 1
        self.graph.put(cell or self.graph.cell(into, key), value)
        self.engine.settle()
        return True

    def attempt(self, query: Query[P, R], *args: P.args, **kwargs: P.kwargs) -> R | Failed:
        """Return the value of ``query`` for ``args``, or its ``Failed``."""
        if kwargs:
            raise Misuse(f"{query.name} takes positional arguments only")
        value: R | Failed = self.engine.read(query, args).value
        return value

    def peek(self, query: Query[P, R], *args: P.args, **kwargs: P.kwargs) -> R | Failed:
        """Return the value that ``query`` had when it was last brought up to date; ``LookupError`` if it never was."""
        node = None if kwargs else self.graph.nodes[query].get(args)
        if node is None or node.value is UNSET:
            raise LookupError(query.name, args)
        value: R | Failed = node.value
        return value

    def watch(self, query: Query[P, R], *args: P.args, **kwargs: P.kwargs) -> QueryCall:
        """Keep ``query`` for ``args`` up to date over refreshes, until unwatched as often; the next refresh reports it."""
        self.engine.forbid_in_query("watch")
        if kwargs:
            raise Misuse(f"{query.name} takes positional arguments only")
        node = self.graph.node(query, args)
        self.graph.watch(node)
        return _call(node)

    def unwatch(self, query: Query[P, R], *args: P.args, **kwargs: P.kwargs) -> None:
        """Take one ``watch`` back."""
        self.engine.forbid_in_query("unwatch")
        node = None if kwargs else self.graph.nodes[query].get(args)
        if node is None or not node.watches:
            raise Misuse(f"{query.name} is not watched for {args}")
        self.graph.unwatch(node)

    def refresh(self, stop: Callable[[], bool] = never) -> Refresh:
        """Bring every watched query up to date, and drop what is no longer asked for.

        ``stop`` is asked before a query runs, once one has completed. The next refresh goes on from there, in the middle of the
        queries that were running, unless an input has changed.
        """
        self.engine.forbid_in_query("refresh")
        if not self.engine.advance(self._bring_watched, stop):
            return Refresh(done=False)
        if self.graph.journal is None:
            self.graph.collect()
        return self._report()

    @property
    def is_paused(self) -> bool:
        """Return whether a refresh was stopped and is to be gone on with."""
        return self.engine.paused is not None

    def _bring_watched(self) -> None:
        tried: set[QueryNode] = set()  # those too deep stay stale: every refresh tries them again
        while waiting := [node for node in self.graph.stale if node not in tried]:
            for node in waiting:
                tried.add(node)
                if node in self.graph.stale:  # it may have been let go while this was paused
                    self._bring(node)

    def _bring(self, node: QueryNode) -> None:
        try:
            self.engine.ask(node)
            self.graph.stale.pop(node, None)
        except RecursionError:
            self.graph.give(node, too_deep(node))

    def _report(self) -> Refresh:
        changed = tuple(_call(node) for node, old in self.graph.changed.items() if node.value is not old and node.value != old)
        failed = (node.value for node, old in self.graph.failing.items() if _is_root(node) and node.value != old)
        report = Refresh(changed, tuple(dict.fromkeys(failed)))
        self.graph.changed.clear()
        self.graph.failing.clear()
        return report

    def transaction(self) -> Transaction:
        """Return a block, for ``with``, whose changes can be taken back: ``rollback()`` and an exception leave no trace.

        Nothing is dropped from memory until it has ended.
        """
        self.engine.forbid_in_query("transaction")
        self.engine.abandon()
        return Transaction(self.graph, self.engine.abandon)

    def collect(self) -> None:
        """Drop every value that no watched query needs; a refresh does, when it is done."""
        self.engine.forbid_in_query("collect")
        if self.graph.journal is not None:
            raise Misuse("collect within a transaction")
        self.engine.abandon()
        self.graph.collect()

    def reads(self, query: Query[P, R], *args: P.args, **kwargs: P.kwargs) -> tuple[InputEntry | QueryCall, ...]:
        """Return what the value of ``query`` for ``args`` was made from, in the order of reading."""
        return tuple(_entry_or_call(source) for source in self._node(query, *args, **kwargs).reads)

    def sources(self, query: Query[P, R], *args: P.args, **kwargs: P.kwargs) -> tuple[InputEntry, ...]:
        """Return every entry of an input that the value was made from, however indirectly, in the order of reading."""
        below = all_reads(self._node(query, *args, **kwargs))
        return tuple(_entry(source) for source in below if isinstance(source, InputCell))

    def dependents(self, into: Input[K, V], key: K) -> Iterator[QueryCall]:
        """Yield every query whose value was made from ``key`` of ``into``, however indirectly, in no particular order."""
        cell = self.graph.cells[into].get(key)
        return (_call(node) for node in all_dependents(cell)) if cell else iter(())

    def _node(self, query: Query[P, R], *args: P.args, **kwargs: P.kwargs) -> QueryNode:
        self.engine.forbid_in_query("provenance")
        self.attempt(query, *args, **kwargs)
        return self.graph.nodes[query][args]


def _entry_or_call(source: Readable) -> InputEntry | QueryCall:
    match source:
        case InputCell():
            return _entry(source)
        case QueryNode():
            return _call(source)
        case _:
            raise TypeError(source)


def _entry(cell: InputCell) -> InputEntry:
    return InputEntry(cast("Input[Any, Any]", cell.input), cell.key)


def _call(node: QueryNode) -> QueryCall:
    return QueryCall(cast("Query[..., object]", node.query), node.args)


def _is_root(node: QueryNode) -> bool:
    """Return whether what ``node`` failed with began there."""
    return isinstance(node.value, Failed) and (node.value.query, node.value.args) == (node.query.name, node.args)
