"""Tables that nobody sees: what is likely to be seen again, or for the first time, is kept up to date for a while.

A rollout that takes the last proxy of a namespace away brings the next one a moment later; working its view out again would cost what a
first view costs, about as much as the mesh has services.
"""

from __future__ import annotations

from collections.abc import Callable

from controlplane.mesh.publish.parts import PartGroup
from controlplane.mesh.publish.publisher import Publisher
from controlplane.mesh.publish.reduced_parts import whole

_MOST = 8  # tables: each some megabytes in a large mesh


class RetainedTables:
    """The tables that are kept, each with the time until when, the first to end first."""

    def __init__(self, publisher: Publisher, keep_s: float, is_own: Callable[[PartGroup], bool]) -> None:
        """Keep tables of ``publisher`` for ``keep_s`` seconds each; 0: none.

        Those of roots that ``is_own`` says are of one workload: no other one will see them.
        """
        self._publisher = publisher
        self._is_own = is_own
        self._keep_s = keep_s
        self._until: dict[PartGroup, float] = {}

    def close(self, root: PartGroup, now: float) -> None:
        """Give up one use of the table of ``root``; if it is the last, it is kept from ``now`` on."""
        if self._publisher.uses(root) == 1 + (root in self._until):
            self.keep(root, now)
        self._publisher.close(root)

    def keep(self, root: PartGroup, now: float) -> None:
        """Keep the table of ``root`` from ``now`` on, in seconds."""
        if not self._keep_s or self._is_own(whole(root)):
            return
        if root in self._until:
            del self._until[root]
        else:
            self._publisher.open(root)
        self._until[root] = now + self._keep_s
        if len(self._until) > _MOST:
            self._end(next(iter(self._until)))

    def end_old(self, now: float) -> None:
        """Keep those no longer whose time is over ``now``."""
        while self._until:
            root, until = next(iter(self._until.items()))
            if until > now:
                break
            self._end(root)

    @property
    def due(self) -> float | None:
        """Return when the next one ends."""
        return next(iter(self._until.values()), None)

    def _end(self, root: PartGroup) -> None:
        del self._until[root]
        self._publisher.close(root)
