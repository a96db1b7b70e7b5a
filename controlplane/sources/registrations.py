"""WorkloadEntries of proxies that have registered themselves, in memory: for control planes that have no API server to keep them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping

from controlplane.model.keys import Key
from controlplane.objects.changes import Change
from controlplane.objects.locations import LocatedProblem, Location, Locations
from controlplane.objects.parse import parse
from controlplane.sources.source import Noticed

Document = Mapping[str, object]
_LOOK_S = 0.5  # at groups that may have changed, and at who has left long enough ago


class RegistrationSource:
    """The entries, as a source."""

    name = "registrations"

    def __init__(self, documents: Callable[[], Mapping[Key, Document]], news: asyncio.Event) -> None:
        """Ask for ``documents`` when there is ``news``, and now and then: those that there have to be."""
        self.noticed = Noticed()
        self._documents = documents
        self._news = news
        self._published: Mapping[Key, Document] = {}

    async def run(self, deliver: Callable[[tuple[Change, ...]], None]) -> None:
        """Hand what changes to ``deliver``; at first there is nothing."""
        deliver(tuple(self._changes()))
        while True:
            try:
                async with asyncio.timeout(_LOOK_S):
                    await self._news.wait()
            except TimeoutError:
                pass
            self._news.clear()
            if changes := tuple(self._changes()):
                deliver(changes)

    def locations(self) -> Locations:
        """Return no problems and no locations: nobody wrote the entries."""
        return _NO_LOCATIONS

    def not_ready(self) -> None:
        """Return ``None``: it is ready at once."""
        return

    def _changes(self) -> Iterator[Change]:
        documents_before, self._published = self._published, self._documents()
        for key in sorted(documents_before.keys() - self._published.keys()):
            yield Change(key, None)
        for key, document in self._published.items():
            if documents_before.get(key) != document and (entry := parse(document).object):
                yield Change(key, entry)


class _NoLocations:
    """Where the entries stand: nobody wrote them."""

    def problems_by_document(self) -> Iterator[tuple[LocatedProblem, ...]]:
        """Yield nothing: the entries are made by the control plane."""
        return iter(())

    def location(self, _key: Key, _path: str) -> Location | None:
        """Return ``None``: the entries are in no file."""
        return None


_NO_LOCATIONS = _NoLocations()
