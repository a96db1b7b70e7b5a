"""The graph of who read what: what a change makes stale, what nobody asks for any more, and the way back.

It holds values and evaluates none: that is left to ``engine``. One invariant carries everything: *all that a clean node
has read is clean*. So a change marks upwards and stops at what is marked already, and a clean value needs no look.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

from controlplane.incremental.failures import CYCLE, Failed

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


class Source:
    """What can be read: a value, and the queries whose value was made from it."""

    __slots__ = ("dependents", "value")
    state = CLEAN
    reads: tuple[Source, ...] = ()

    def __init__(self, value: object) -> None:
        """Begin with ``value``, read by nobody."""
        self.value: Any = value  # its type is known to who asks: the tables are keyed by the input or the query
        self.dependents: tuple[Node, ...] | dict[Node, None] = ()

    def add(self, node: Node) -> None:
        """Take in ``node``, which has read this and had not before."""
        if isinstance(self.dependents, dict):
            self.dependents[node] = None
        elif len(self.dependents) < _FEW:
            self.dependents = (*self.dependents, node)
        else:
            self.dependents = dict.fromkeys((*self.dependents, node))

    def discard(self, node: Node) -> None:
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


class Cell(Source):
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


class Node(Source):
    """The value of a query with its arguments, and what it was made from, in the order of reading."""

    __slots__ = ("args", "query", "reads", "stale", "state", "watches")

    def __init__(self, query: Runnable, args: tuple[object, ...]) -> None:
        """Begin without a value."""
        super().__init__(UNSET)
        self.query = query
        self.args = args
        self.reads = ()
        self.state = DIRTY
        self.stale: dict[Source, None] | None = None  # those of the reads to look at; nothing to a dirty node
        self.watches = 0

    def undo(self) -> Callable[[], None]:
        """Return what brings the node back to what it is now."""
        value, reads, state, watches = self.value, self.reads, self.state, self.watches
        dependents, stale = _copy(self.dependents), self.stale and self.stale.copy()

        def restore() -> None:
            self.value, self.reads, self.state, self.watches = value, reads, state, watches
            self.dependents, self.stale = dependents, stale

        return restore


class Graph:
    """Every cell and node of a database, and what waits to be refreshed, reported or dropped."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self.cells: defaultdict[Defaulted, dict[Any, Cell]] = defaultdict(dict)
        self.nodes: defaultdict[Runnable, dict[tuple[object, ...], Node]] = defaultdict(dict)
        self.stale: dict[Node, None] = {}  # watched, and not clean
        self.changed: dict[Node, object] = {}  # watched, and given another value: the one that was reported last
        self.failing: dict[Node, object] = {}  # failed, or failed before: likewise
        self.orphans: dict[Source, None] = {}  # perhaps asked for by nobody
        self.journal: dict[Source, Callable[[], None]] | None = None  # how to undo what a transaction has touched

    def cell(self, into: Defaulted, key: object) -> Cell:
        """Return the cell of ``key`` in ``into``, which may be new."""
        cell = self.cells[into].get(key)
        if cell is None:
            cell = self.cells[into][key] = Cell(into, key)
            self._begin(cell)
        return cell

    def node(self, query: Runnable, args: tuple[object, ...]) -> Node:
        """Return the node of ``query`` with ``args``, which may be new."""
        node = self.nodes[query].get(args)
        if node is None:
            node = self.nodes[query][args] = Node(query, args)
            self._begin(node)
        return node

    def _begin(self, source: Source) -> None:
        self.orphans[source] = None
        if self.journal is not None:
            self.journal[source] = partial(self._remove, source)

    def _remove(self, source: Source) -> None:
        match source:
            case Cell():
                del self.cells[source.input][source.key]
            case Node():
                del self.nodes[source.query][source.args]

    def touch(self, source: Source) -> None:
        """Remember what ``source`` is like before it changes, if there may be a way back."""
        if self.journal is not None and source not in self.journal:
            self.journal[source] = source.undo()

    def put(self, cell: Cell, value: object) -> None:
        """Change the value of ``cell`` and mark what was made from it."""
        self.touch(cell)
        cell.value = value
        self._suspect(cell)
        newly: list[Node] = []
        for node in cell.dependents:
            self.touch(node)
            if node.state == CLEAN:
                newly.append(node)
            node.state |= DIRTY
        while newly:
            stale = newly.pop()
            if stale.watches:
                self.stale[stale] = None
            for node in stale.dependents:
                self.touch(node)
                if node.state == CLEAN:
                    newly.append(node)
                    node.state, node.stale = CHECK, {}
                if node.stale is not None:
                    node.stale[stale] = None

    def give(self, node: Node, value: object) -> None:
        """Change the value of ``node``, unless an equal one is there, and mark what was made from the old."""
        old = node.value
        if old is value or old == value:
            return  # the old object stays: who holds it can tell by identity that nothing changed
        self.touch(node)
        node.value = value
        if node.watches:
            self.changed.setdefault(node, old)
        if isinstance(old, Failed) or isinstance(value, Failed):
            self.failing.setdefault(node, old)
        for dependent in node.dependents:
            self.touch(dependent)
            dependent.state |= DIRTY

    def link(self, node: Node, reads: tuple[Source, ...]) -> None:
        """Make ``node`` clean, made from ``reads``."""
        self.touch(node)
        before = node.reads
        node.state, node.stale, node.reads = CLEAN, None, reads
        if before == reads:
            return
        kept = set(before).intersection(reads)
        for source in reads:
            if source not in kept:
                self.touch(source)
                source.add(node)
        for source in before:
            if source not in kept:
                self._unlink(source, node)

    def _unlink(self, source: Source, node: Node) -> None:
        self.touch(source)
        source.discard(node)
        self._suspect(source)

    def _suspect(self, source: Source) -> None:
        if not source.dependents or _is_cycle(source):
            self.orphans[source] = None

    def watch(self, node: Node) -> None:
        """Keep ``node`` alive and up to date; the next report has it, whatever its value."""
        self.touch(node)
        node.watches += 1
        if node.watches == 1:
            self.changed.setdefault(node, UNSET)
            if node.state != CLEAN:
                self.stale[node] = None

    def unwatch(self, node: Node) -> None:
        """Take back one ``watch`` of ``node``."""
        self.touch(node)
        node.watches -= 1
        if not node.watches:
            self.changed.pop(node, None)
            self.stale.pop(node, None)
            self._suspect(node)

    def collect(self) -> None:
        """Drop what is neither set nor watched nor read by anything watched, and what that alone had read."""
        while self.orphans:
            source, _ = self.orphans.popitem()
            match source:
                case Cell() if not source.dependents and source.value == source.input.default:
                    self._remove(source)
                case Node() if not source.dependents and not source.watches:
                    self._drop({source: None})
                case Node() if source.dependents and _is_cycle(source):
                    self._drop(_unheld(source))  # a cycle's members keep each other
                case _:
                    pass

    def _drop(self, nodes: dict[Node, None]) -> None:
        for node in nodes:
            self._remove(node)
            self.failing.pop(node, None)
            for source in node.reads:
                self._unlink(source, node)
        for node in nodes:
            self.orphans.pop(node, None)


def _is_cycle(source: Source) -> bool:
    return isinstance(source.value, Failed) and source.value.exception == CYCLE


def _unheld(node: Node) -> dict[Node, None]:
    """Return ``node`` and all that was made from it, or nothing if one of these is watched."""
    above, pending = {node: None}, [node]
    while pending:
        one = pending.pop()
        if one.watches:
            return {}
        new = [dependent for dependent in one.dependents if dependent not in above]
        above.update(dict.fromkeys(new))
        pending += new
    return above


def _copy(dependents: tuple[Node, ...] | dict[Node, None]) -> tuple[Node, ...] | dict[Node, None]:
    return dependents.copy() if isinstance(dependents, dict) else dependents
