"""Virtual hosts as resources: a Delta stream gets those of every route configuration that it was sent, without asking for each.

Envoy subscribes once, to everything, and never again: what belongs to a route configuration that comes later is sent right behind it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from controlplane.xds.channel import Channel
from controlplane.xds.view import folder


@dataclass(slots=True, eq=False)
class HostsChannel(Channel):
    """The virtual hosts of the route configurations in ``tables``; hosts that are asked for by name are like any resource.

    ``tables`` is all that is written here: it is part of what is asked for.
    """

    tables: set[str] = field(init=False, default_factory=set)

    def wants(self, name: str) -> bool:
        """Return whether ``name`` is asked for: by name, by its route configuration, or because the client has it."""
        return name in self.client_resources or (self.wildcard and (folder(name) in self.tables or name in self.named))

    def touch(self, names: Iterable[str]) -> bool:
        """Take note that ``names`` may have changed; return whether one of them is asked for."""
        asked = [name for name in names if self.wants(name)] if self.tables or self.client_resources or self.named else []
        self.look_again(asked)
        return bool(asked)

    def bring(self, table: str, names: Iterable[str], *, anew: bool) -> None:
        """Serve ``names``, the hosts of ``table``, which the client has now; ``anew``: it lost those that it had."""
        if self.wildcard and table not in self.tables:
            self.tables.add(table)
            if anew:
                self.force(names)
            else:
                self.look_again(names)

    def lose(self, tables: Collection[str]) -> None:
        """Serve no more hosts of ``tables``, which the client does not have; what it has of their hosts it keeps till told otherwise."""
        if tables:
            self.tables.difference_update(tables)
            self.forget_unasked()

    def leave(self, table: str) -> None:
        """Forget the hosts of ``table``, which the client dropped with it."""
        self.tables.discard(table)
        if self.wildcard:
            self.client_dropped([name for name in self.client_resources if folder(name) == table])
        self.forget_unasked()
