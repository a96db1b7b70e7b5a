"""Changes that may be taken back: all that a transaction touches is remembered as it was."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Self

from controlplane.incremental.failures import Misuse
from controlplane.incremental.graph import Graph


class Transaction:
    """A block in which inputs are set and queries asked, and which is committed at its end unless it raises."""

    def __init__(self, graph: Graph, abandon: Callable[[], None]) -> None:
        """Prepare a transaction over ``graph``; ``abandon`` ends an evaluation that was paused within it."""
        self._graph = graph
        self._abandon = abandon

    def __enter__(self) -> Self:
        """Begin: from here on there is a way back."""
        if self._graph.journal is not None:
            raise Misuse("a transaction within a transaction")
        self._begin()
        return self

    def rollback(self) -> None:
        """Take back all that has happened since the beginning; the block goes on as if it had just begun."""
        self._abandon()
        graph = self._graph
        for undo in (graph.journal or {}).values():
            undo()
        graph.stale, graph.changed, graph.failing, graph.orphans = self._waiting
        self._begin()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """End: keep what has happened, or take it back if the block has raised."""
        if kind is not None:
            self.rollback()
        self._graph.journal = None

    def _begin(self) -> None:
        graph = self._graph
        graph.journal = {}
        self._waiting = (graph.stale.copy(), graph.changed.copy(), graph.failing.copy(), graph.orphans.copy())
