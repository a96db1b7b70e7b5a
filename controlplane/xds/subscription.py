"""What a stream asks for of one type, in both protocols."""

from __future__ import annotations

from collections.abc import Iterable

from controlplane.xds.resource import Resource

EVERYTHING = "*"


class Subscription:
    """The names asked for, everything or both, and what the client has of them: ``client_resources``.

    Without ``wildcard`` its keys are the names asked for, ``None`` where the client has nothing, so that a thousand names cost
    one dict. With it, it is what the client has, and ``named`` are the names asked for as well.
    """

    __slots__ = ("_named_ever", "client_resources", "named", "wildcard")

    def __init__(self) -> None:
        """Ask for nothing."""
        self.wildcard = False
        self.named: set[str] = set()
        self.client_resources: dict[str, Resource | None] = {}
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
        for name in names:
            self._named_ever = True
            if name == EVERYTHING:
                self._add_everything()
            elif self.wildcard:
                self.named.add(name)
            else:
                self.client_resources.setdefault(name, None)

    def drop(self, names: Iterable[str]) -> set[str]:
        """Ask for ``names`` no longer; return those that are asked for still, as part of everything, and have to be answered (XP-53)."""
        kept: set[str] = set()
        names = set(names)
        self._named_ever = self._named_ever or bool(names)
        if EVERYTHING in names:
            self._drop_everything()
        for name in names:
            if not self.wildcard:
                self.client_resources.pop(name, None)
            elif name in self.named:
                self.named.discard(name)
                kept.add(name)
        return kept

    def compare(self, names: set[str]) -> tuple[set[str], set[str]]:
        """Return which of ``names``, all that is asked for now, are new (XP-31), and which others are asked for no longer.

        No names, if there never was one, mean what they meant at first (XP-21).
        """
        if not names and not self._named_ever:
            return set(), set()
        before = self.named | {EVERYTHING} if self.wildcard else self.client_resources.keys()
        return names - before, before - names

    def put(self, name: str, resource: Resource | None) -> None:
        """Take note that the client has ``resource`` as ``name``, or has nothing of that name."""
        if resource is not None:
            self.client_resources[name] = resource
        elif self.wildcard:
            self.client_resources.pop(name, None)
        elif name in self.client_resources:
            self.client_resources[name] = None

    def _add_everything(self) -> None:
        if not self.wildcard:
            self.wildcard = True
            self.named = set(self.client_resources)
            self.client_resources = {name: resource for name, resource in self.client_resources.items() if resource is not None}

    def _drop_everything(self) -> None:
        if self.wildcard:
            self.wildcard = False
            self.client_resources = {name: self.client_resources.get(name) for name in sorted(self.named)}
            self.named = set()
