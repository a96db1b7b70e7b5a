"""What a source of objects is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from controlplane.objects.changes import Change
from controlplane.objects.locations import Locations


class Source(Protocol):
    """Where objects come from."""

    name: str

    async def run(self, deliver: Callable[[tuple[Change, ...]], None]) -> None:
        """Hand all there is to ``deliver``, be it nothing, and from then on what changes."""

    def locations(self) -> Locations:
        """Return what is wrong with the objects and where they stand, to be asked elsewhere: equal as long as nothing has changed."""

    def not_ready(self) -> str | None:
        """Return why not all there is has been handed over yet, where there is more to say than that it is not."""
