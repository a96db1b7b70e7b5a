"""The graph of who read what: what a change makes stale, what nobody asks for any more, and the way back.

It holds values and evaluates none: that is left to ``engine``. One invariant carries everything: *all that a clean node
has read is clean*. So a change marks upwards and stops at what is marked already, and a clean value needs no look.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from functools import partial
from typing import Any

from controlplane.incremental.failures import CYCLE, Failed
from controlplane.incremental.nodes import CHECK, CLEAN, DIRTY, UNSET, Defaulted, InputCell, QueryNode, Readable, Runnable


class Graph:
    """Every cell and node of a database, and what waits to be refreshed, reported or dropped."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self.cells: defaultdict[Defaulted, dict[Any, InputCell]] = defaultdict(dict)
        self.nodes: defaultdict[Runnable, dict[tuple[object, ...], QueryNode]] = defaultdict(dict)
        self.stale: dict[QueryNode, None] = {}  # watched, and not clean
        self.changed: dict[QueryNode, object] = {}  # watched, and given another value: the one that was reported last
        self.failing: dict[QueryNode, object] = {}  # failed, or failed before: likewise
        self.eager: list[QueryNode] = []  # to be brought up to date before anything is asked
        self.links = 0  # how often a node has become clean: as long as it is the same, so is what was made from what
        self.orphans: dict[Readable, None] = {}  # perhaps asked for by nobody
        self.journal: dict[Readable, Callable[[], None]] | None = None  # how to undo what a transaction has touched

    def cell(self, into: Defaulted, key: object) -> InputCell:
        """Return the cell of ``key`` in ``into``, which may be new."""
        cell = self.cells[into].get(key)
        if cell is None:
            cell = self.cells[into][key] = InputCell(into, key)
            self._begin(cell)
        return cell

    def node(self, query: Runnable, args: tuple[object, ...]) -> QueryNode:
        """Return the node of ``query`` with ``args``, which may be new."""
        node = self.nodes[query].get(args)
        if node is None:
            node = self.nodes[query][args] = QueryNode(query, args)
            self._begin(node)
        return node

    def _begin(self, source: Readable) -> None:
        self.orphans[source] = None
        if self.journal is not None:
            self.journal[source] = partial(self._remove, source)

    def _remove(self, source: Readable) -> None:
        match source:
            case InputCell():
                del self.cells[source.input][source.key]
            case QueryNode():
                del self.nodes[source.query][source.args]

    def touch(self, source: Readable) -> None:
        """Remember what ``source`` is like before it changes, if there may be a way back."""
        if self.journal is not None and source not in self.journal:
            self.journal[source] = source.undo()

    def put(self, cell: InputCell, value: object) -> None:
        """Change the value of ``cell`` and mark what was made from it; what was made from eager nodes, once these have another value."""
        self.touch(cell)
        cell.value = value
        self._suspect(cell)
        self.mark_above(self._mark_dirty(cell))

    def _mark_dirty(self, source: Readable) -> list[QueryNode]:
        """Mark what has read ``source``, and return what of that was clean."""
        newly: list[QueryNode] = []
        for node in source.dependents:
            self.touch(node)
            if node.state == CLEAN:
                if node.query.eager:
                    self.eager.append(node)
                else:
                    newly.append(node)
            node.state |= DIRTY
        return newly

    def mark_above(self, newly: list[QueryNode]) -> None:
        """Mark what was made from the nodes ``newly``, which were clean."""
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

    def give(self, node: QueryNode, value: object) -> None:
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
        self.mark_above(self._mark_dirty(node))  # they are marked already, but above an eager node

    def link(self, node: QueryNode, reads: tuple[Readable, ...]) -> None:
        """Make ``node`` clean, made from ``reads``."""
        self.touch(node)
        self.links += 1
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

    def _unlink(self, source: Readable, node: QueryNode) -> None:
        self.touch(source)
        source.discard(node)
        self._suspect(source)

    def _suspect(self, source: Readable) -> None:
        if not source.dependents or _is_cycle(source):
            self.orphans[source] = None

    def watch(self, node: QueryNode) -> None:
        """Keep ``node`` alive and up to date; the next report has it, whatever its value."""
        self.touch(node)
        node.watches += 1
        if node.watches == 1:
            self.changed.setdefault(node, UNSET)
            if node.state != CLEAN:
                self.stale[node] = None

    def unwatch(self, node: QueryNode) -> None:
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
                case InputCell() if not source.dependents and source.value == source.input.default:
                    self._remove(source)
                case QueryNode() if not source.dependents and not source.watches:
                    self._drop({source: None})
                case QueryNode() if source.dependents and _is_cycle(source):
                    self._drop(_unwatched(source))  # a cycle's members keep each other
                case _:
                    pass

    def _drop(self, nodes: dict[QueryNode, None]) -> None:
        for node in nodes:
            self._remove(node)
            self.failing.pop(node, None)
            for source in node.reads:
                self._unlink(source, node)
        for node in nodes:
            self.orphans.pop(node, None)


def _is_cycle(source: Readable) -> bool:
    return isinstance(source.value, Failed) and source.value.exception == CYCLE


def _unwatched(node: QueryNode) -> dict[QueryNode, None]:
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
