"""Brings nodes up to date: looks at what is stale below them, runs only what read something that came out different.

A query may raise anything: what it raises becomes its value. What must pass through it unseen (a cycle, an interruption, the end of
Python's stack) is a ``BaseException``, and leaves each query it ends as it was before: stale, with its old value.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import TypeAlias

from greenlet import getcurrent, greenlet

from controlplane.incremental.failures import Failed, Misuse, ReadFailed, cycle, label
from controlplane.incremental.graph import Graph
from controlplane.incremental.nodes import ACTIVE, CLEAN, DIRTY, QueryNode, Readable, Runnable

_Active: TypeAlias = "tuple[QueryNode, _Active] | None"
_MOST_DETOURS = 20  # each some 150 queries deep; what needs more will hardly ever end


class _Abandoned(BaseException):
    """A paused evaluation is not gone on with: what is half done in it is left as it was."""


class _InTheWay(BaseException):
    """What is asked for is half done in the evaluation that is paused."""


class _CycleFound(BaseException):
    """The node ``head`` was asked for by what it reads itself."""

    def __init__(self, head: QueryNode, failed: Failed) -> None:
        super().__init__(failed)
        self.head = head
        self.failed = failed
        self.members: list[tuple[QueryNode, tuple[Readable, ...]]] = []  # with what each read on its way into the cycle


class _TooDeep(BaseException):
    """Python's stack came to its end below ``node``."""

    def __init__(self, node: QueryNode) -> None:
        super().__init__(node)
        self.node = node


def never() -> bool:
    """Return that evaluation goes on."""
    return False


class Engine:
    """Evaluates the nodes of ``graph``, calling queries with ``database``."""

    def __init__(self, graph: Graph, database: object) -> None:
        """Begin idle."""
        self.graph = graph
        self.database = database
        self.reads: dict[Readable, None] | None = None  # of the query that is running
        self.active: _Active = None  # what is brought up to date, innermost first: pairs, which are undone without a call
        self.stop: Callable[[], bool] = never
        self.completed = 0  # queries since ``stop`` was given
        self.paused: greenlet | None = None  # an evaluation that was told to stop, with its stack
        self.runs: Counter[str] = Counter()

    def forbid_in_query(self, what: str) -> None:
        """Raise unless no query is running, which may ask but not ``what``."""
        if self.active is not None:
            node = self.active[0]
            raise Misuse(f"{what} within the query {label(node.query.name, node.args)}")

    def read(self, query: Runnable, args: tuple[object, ...]) -> QueryNode:
        """Return the node of ``query`` with ``args``, up to date, and record that the running query has read it."""
        node = self.graph.nodes[query].get(args)
        if node is None:
            node = self.graph.node(query, args)
        if self.reads is None:
            if node.state != CLEAN:
                self.ask(node)
        else:
            self.reads[node] = None
            if node.state != CLEAN:
                self._update(node)
        return node

    def advance(self, work: Callable[[], None], stop: Callable[[], bool]) -> bool:
        """Go on with the evaluation that is paused, or begin ``work``; return whether it came to its end before ``stop``.

        It runs on a stack of its own, so that it goes on in the middle of the queries that it was stopped in.
        """
        running = self.paused or greenlet(work)
        self.paused, self.stop, self.completed = None, stop, 0
        try:
            running.switch()
        finally:
            self.stop = never
        if running.dead:
            return True
        self.paused = running
        return False

    def abandon(self) -> None:
        """End the evaluation that is paused, if one is: the queries that it completed keep their values, others run again."""
        running, self.paused = self.paused, None
        if running is not None:
            with suppress(_Abandoned):
                running.throw(_Abandoned)

    def settle(self) -> None:
        """Bring the eager nodes up to date of which an input has changed, and mark what was made from those that came out different."""
        while self.graph.eager:
            node = self.graph.eager.pop()
            try:
                self.ask(node)
            except RecursionError:
                self.graph.mark_above([node])  # it runs when it is asked for

    def _pause(self) -> None:
        """Hand control to who called ``advance``, until it is called again."""
        active, reads = self.active, self.reads
        self.active = self.reads = None
        outside = getcurrent().parent
        if outside is not None:
            outside.switch()
        self.active, self.reads = active, reads

    def ask(self, node: QueryNode) -> None:
        """Bring ``node`` up to date, which no query has asked for."""
        try:
            self._ask(node)
        except _InTheWay:
            self.abandon()
            self._ask(node)

    def _ask(self, node: QueryNode) -> None:
        """Bring ``node`` up to date.

        Where Python's stack is too short, the query that came to its end is asked first, with the whole stack for itself.
        """
        waiting = [node]
        while waiting:
            try:
                if waiting[-1].state != CLEAN:
                    self._update(waiting[-1])
                waiting.pop()
            except _TooDeep as deep:
                if deep.node in waiting or len(waiting) == _MOST_DETOURS:
                    raise RecursionError(f"too deep: {label(deep.node.query.name, deep.node.args)}") from None
                waiting.append(deep.node)

    def _update(self, node: QueryNode) -> None:
        if node.state & ACTIVE:
            raise _InTheWay if self.paused else self._cycle(node)
        self.graph.touch(node)
        active, reads = self.active, self.reads
        self.active = (node, active)
        node.state |= ACTIVE
        try:
            if not node.state & DIRTY:
                self._check(node)
            if node.state & DIRTY:
                self._run(node)
            else:
                node.state, node.stale = CLEAN, None
        except _CycleFound as cycle_found:
            cycle_found.members.append((node, tuple(self.reads or ())))
            if cycle_found.head is not node:
                raise
            self._settle_cycle(cycle_found)
        except RecursionError as error:
            if active is not None:
                raise _TooDeep(node) from None
            self._overrun(node, error)
        finally:
            self.active, self.reads = active, reads
            node.state &= ~ACTIVE

    def _check(self, node: QueryNode) -> None:
        """Bring the stale reads of ``node`` up to date, in the order of reading, until one makes it dirty."""
        stale = node.stale or {}
        for source in stale if len(stale) == 1 else [source for source in node.reads if source in stale]:
            if isinstance(source, QueryNode) and source.state != CLEAN:
                try:
                    self._update(source)
                except _CycleFound:
                    self.reads = dict.fromkeys(node.reads[: node.reads.index(source) + 1])
                    raise
            if node.state & DIRTY:
                return

    def _run(self, node: QueryNode) -> None:
        if self.completed and self.stop():
            self._pause()
        self.runs[node.query.name] += 1
        reads: dict[Readable, None] = {}
        self.reads = reads
        value: object
        try:
            value = node.query.function(self.database, *node.args)
        except ReadFailed as read:
            value = read.failed
        except RecursionError:
            raise  # how much stack was left is not a property of the query
        except Exception as error:  # the one place where whatever a query raises becomes its value
            if any(source.state != CLEAN for source in reads):
                raise  # not the query's own: the one it was reading could not be brought to an end
            value = Failed.of(node.query.name, node.args, error)
        if node.query.eager and any(isinstance(source, QueryNode) for source in reads):
            raise Misuse(f"{label(node.query.name, node.args)} is eager and reads another query")
        self._settle(node, tuple(reads), value)

    def _settle(self, node: QueryNode, reads: tuple[Readable, ...], value: object) -> None:
        _headroom()
        self.graph.give(node, value)
        self.graph.link(node, reads)
        self.completed += 1

    def _overrun(self, node: QueryNode, error: RecursionError) -> None:
        """Give ``node``, which had the whole stack for itself, the failure to do with it."""
        if self.reads is None or any(source.state != CLEAN for source in self.reads):
            raise error  # the asker has left too little of the stack to tell
        self._settle(node, tuple(self.reads), too_deep(node))

    def _cycle(self, head: QueryNode) -> _CycleFound:
        members: list[tuple[str, tuple[object, ...]]] = []
        rest = self.active
        while rest is not None:
            node, rest = rest
            members.insert(0, (node.query.name, node.args))
            if node is head:
                break
        return _CycleFound(head, cycle(members))

    def _settle_cycle(self, cycle_found: _CycleFound) -> None:
        """Give all members of a cycle its failure: whichever was asked first, none has another value."""
        for node, reads in cycle_found.members:
            self._settle(node, reads, cycle_found.failed)
        for node, _ in cycle_found.members:
            node.state, node.stale = CLEAN, None  # they have marked each other


def too_deep(node: QueryNode) -> Failed:
    """Return the value of ``node`` when it needs more of Python's stack than there is."""
    return Failed(node.query.name, node.args, RecursionError.__name__, "maximum recursion depth exceeded")


def _headroom(calls: int = 6) -> None:
    """Raise ``RecursionError`` here, before anything changes, if fewer than ``calls`` are left of Python's stack."""
    if calls:
        _headroom(calls - 1)
