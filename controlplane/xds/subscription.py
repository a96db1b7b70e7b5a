"""What a stream asks for of one type, in both protocols."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from controlplane.xds.client_resources import NOTHING, ClientResources
from controlplane.xds.resource import Resource

EVERYTHING = "*"


class Subscription:
    """The names asked for, everything or both, and what the client has of them: ``client_resources``.

    Without ``wildcard`` its keys are the names asked for, ``None`` where the client has nothing. With it, it is what the client has, and
    ``named`` are the names asked for as well.
    """

    __slots__ = ("_named_ever", "client_resources", "named", "wildcard")

    def __init__(self) -> None:
        """Ask for nothing."""
        self.wildcard = False
        self.named: set[str] = set()
        self.client_resources: ClientResources = NOTHING
        self._named_ever = False

    @property
    def size(self) -> int:
        """Return how many names are asked for, apart from everything."""
        return len(self.named) if self.wildcard else len(self.client_resources)

    def wants(self, name: str) -> bool:
        """Return whether ``name`` is asked for."""
        return self.wildcard or name in self.client_resources

    def names(self, name: str) -> bool:
        """Return whether ``name`` is asked for by name."""
        return name in (self.named if self.wildcard else self.client_resources)

    def begin(self) -> None:
        """Ask for everything without saying so; whoever has named something before means nothing by it (XP-23, XP-46)."""
        if not self._named_ever:
            self.wildcard = True

    def add(self, names: Iterable[str]) -> None:
        """Ask for ``names``, of which one may be everything."""
        asked = frozenset(names)
        self._named_ever = self._named_ever or bool(asked)
        if EVERYTHING in asked:
            asked -= {EVERYTHING}
            self._add_everything()
        if self.wildcard:
            self.named |= asked
        else:
            client_resources = self.client_resources
            new = [name for name in asked if name not in client_resources] if client_resources else asked
            self.client_resources = client_resources.having_nothing_of(new)

    def drop(self, names: Iterable[str]) -> set[str]:
        """Ask for ``names`` no longer; return those that are asked for still, as part of everything, and have to be answered (XP-53)."""
        kept: set[str] = set()
        names = set(names)
        self._named_ever = self._named_ever or bool(names)
        if EVERYTHING in names:
            self._drop_everything()
        if self.wildcard:
            kept = self.named & names
            self.named -= names
        else:
            self.client_resources = self.client_resources.without(names)
        return kept

    def compare(self, names: set[str]) -> tuple[set[str], set[str]]:
        """Return which of ``names``, all that is asked for now, are new (XP-31), and which others are asked for no longer.

        No names, if there never was one, mean what they meant at first (XP-21).
        """
        if not names and not self._named_ever:
            return set(), set()
        if self.wildcard:
            before = self.named | {EVERYTHING}
            return names - before, before - names
        client_resources = self.client_resources
        new = {name for name in names if name not in client_resources}
        is_same = len(names) - len(new) == len(client_resources)
        return new, set() if is_same else {name for name in client_resources if name not in names}

    def put(self, resources: Collection[Resource], nothing_of: Collection[str] = ()) -> None:
        """Take note that the client has ``resources``, and ``nothing_of`` these names."""
        self.client_resources = self.client_resources.having(resources)
        if self.wildcard:
            self.client_resources = self.client_resources.without(nothing_of)
        else:
            self.client_resources = self.client_resources.having_nothing_of(name for name in nothing_of if name in self.client_resources)

    def put_back(self, names: Iterable[str], before: ClientResources) -> None:
        """Take note that the client has of ``names`` what it had ``before``."""
        had = {name: before.get(name) for name in names}
        self.put([resource for resource in had.values() if resource], [name for name, resource in had.items() if resource is None])

    def _add_everything(self) -> None:
        if not self.wildcard:
            self.wildcard = True
            self.named = set(self.client_resources)
            self.client_resources = self.client_resources.without(
                [name for name, resource in self.client_resources.items() if not resource]
            )

    def _drop_everything(self) -> None:
        if self.wildcard:
            self.wildcard = False
            had = [resource for name in self.named if (resource := self.client_resources.get(name))]
            self.client_resources = NOTHING.having_nothing_of(self.named).having(had)
            self.named = set()
