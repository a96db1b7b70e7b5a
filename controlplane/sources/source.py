"""What a source of objects is."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

from controlplane.objects.changes import Change
from controlplane.objects.locations import Locations


class Noticed:
    """Since when there is something that a source has noticed and not handed on."""

    def __init__(self) -> None:
        """Begin with nothing noticed."""
        self._since_ns: int | None = None

    def note(self) -> None:
        """Take note that there is something."""
        if self._since_ns is None:
            self._since_ns = time.time_ns()

    def take(self) -> int | None:
        """Return since when, in nanoseconds since the epoch, and begin anew."""
        since_ns, self._since_ns = self._since_ns, None
        return since_ns


class Source(Protocol):
    """Where objects come from."""

    name: str
    noticed: Noticed

    async def run(self, deliver: Callable[[tuple[Change, ...]], None]) -> None:
        """Hand all there is to ``deliver``, be it nothing, and from then on what changes."""

    def locations(self) -> Locations:
        """Return what is wrong with the objects and where they stand, to be asked elsewhere: equal as long as nothing has changed."""

    def not_ready(self) -> str | None:
        """Return why not all there is has been handed over yet, where there is more to say than that it is not."""
