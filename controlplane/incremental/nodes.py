"""What can be read: the cells of inputs and the nodes of queries, each with who has read it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol

CLEAN = 0
CHECK = 1  # something further down has changed: one of the ``stale`` reads may come out different
DIRTY = 2  # something that was read is different, or there is no value yet: it has to run
ACTIVE = 4  # it is being brought up to date

UNSET = object()
_FEW = 8  # up to so many dependents are a tuple: a quarter of a dict's memory, and most nodes have but one


class Defaulted(Protocol):
    """What the graph knows of an input."""

    @property
    def default(self) -> object:
        """The value of a key that nobody set."""


class Runnable(Protocol):
    """What the graph knows of a query."""

    @property
    def name(self) -> str:
        """What messages call it."""

    @property
    def function(self) -> Callable[..., object]:
        """What is called with the database and the arguments."""

    @property
    def eager(self) -> bool:
        """Whether it reads inputs only, and runs as soon as one of them changes."""


class Readable:
    """What can be read: a value, and the queries whose value was made from it."""

    __slots__ = ("dependents", "value")
    state = CLEAN
    reads: tuple[Readable, ...] = ()

    def __init__(self, value: object) -> None:
        """Begin with ``value``, read by nobody."""
        self.value: Any = value  # its type is known to who asks: the tables are keyed by the input or the query
        self.dependents: tuple[QueryNode, ...] | dict[QueryNode, None] = ()

    def add(self, node: QueryNode) -> None:
        """Take in ``node``, which has read this and had not before."""
        if isinstance(self.dependents, dict):
            self.dependents[node] = None
        elif len(self.dependents) < _FEW:
            self.dependents = (*self.dependents, node)
        else:
            self.dependents = dict.fromkeys((*self.dependents, node))

    def discard(self, node: QueryNode) -> None:
        """Let ``node`` go, which no longer reads this."""
        if isinstance(self.dependents, dict):
            self.dependents.pop(node, None)
            if not self.dependents:
                self.dependents = ()  # an emptied dict keeps its memory
        else:
            self.dependents = tuple(other for other in self.dependents if other is not node)

    def undo(self) -> Callable[[], None]:
        """Return what brings this back to what it is now."""
        raise NotImplementedError


class InputCell(Readable):
    """The value of one key of an input."""

    __slots__ = ("input", "key")

    def __init__(self, into: Defaulted, key: object) -> None:
        """Begin as nobody set it."""
        super().__init__(into.default)
        self.input = into
        self.key = key

    def undo(self) -> Callable[[], None]:
        """Return what brings the cell back to what it is now."""
        value, dependents = self.value, _copy(self.dependents)

        def restore() -> None:
            self.value, self.dependents = value, dependents

        return restore


class QueryNode(Readable):
    """The value of a query with its arguments, and what it was made from, in the order of reading."""

    __slots__ = ("args", "query", "reads", "stale", "state", "watches")

    def __init__(self, query: Runnable, args: tuple[object, ...]) -> None:
        """Begin without a value."""
        super().__init__(UNSET)
        self.query = query
        self.args = args
        self.reads = ()
        self.state = DIRTY
        self.stale: dict[Readable, None] | None = None  # those of the reads to look at; nothing to a dirty node
        self.watches = 0

    def undo(self) -> Callable[[], None]:
        """Return what brings the node back to what it is now."""
        value, reads, state, watches = self.value, self.reads, self.state, self.watches
        dependents, stale = _copy(self.dependents), self.stale and self.stale.copy()

        def restore() -> None:
            self.value, self.reads, self.state, self.watches = value, reads, state, watches
            self.dependents, self.stale = dependents, stale

        return restore


def all_reads(node: Readable) -> Iterable[Readable]:
    """Return ``node`` and everything that it was made from, however indirectly, in the order of reading."""
    pending = [node]
    seen: dict[Readable, None] = {}
    while pending:
        source = pending.pop()
        if source not in seen:
            seen[source] = None
            pending += reversed(source.reads)
    return seen


def all_dependents(source: Readable) -> Iterator[QueryNode]:
    """Yield everything that was made from ``source``, however indirectly, in no particular order."""
    pending = [source]
    seen = {source}
    while pending:
        for node in pending.pop().dependents:
            if node not in seen:
                seen.add(node)
                pending.append(node)
                yield node


def _copy(dependents: tuple[QueryNode, ...] | dict[QueryNode, None]) -> tuple[QueryNode, ...] | dict[QueryNode, None]:
    return dependents.copy() if isinstance(dependents, dict) else dependents
