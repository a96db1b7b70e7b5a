"""Tables that nobody sees: what is likely to be seen again, or for the first time, is kept up to date for a while.

A rollout that takes the last proxy of a namespace away brings the next one a moment later; working its view out again would cost what a
first view costs, about as much as the mesh has services.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from controlplane.incremental.database import Database
from controlplane.mesh.publish.parts import PartGroup
from controlplane.mesh.publish.publisher import Publisher
from controlplane.mesh.roots import scope_of, table_roots
from controlplane.mesh.routing.scopes import ProxyScope
from controlplane.mesh.sidecar.inbound import inbound_parts
from controlplane.model.identity import Identity
from controlplane.model.keys import POD, SERVICE, Key
from controlplane.model.proxies import IGNORED_NAMESPACES, IpFamilies, Proxy, ProxyType
from controlplane.xds.stream import Variant

_WORKLOADS = frozenset((POD, SERVICE))
_ANYBODY = Identity("cluster.local", "default", "default")  # it matters only that there is one
_MOST = 8  # tables: each some megabytes in a large mesh


def typical_proxy(keys: Iterable[Key], *, identified: bool) -> Proxy | None:
    """Return a sidecar of the namespace that most services or pods among ``keys`` are in; ``None``: there are none."""
    counts = Counter(key.namespace for key in keys if key.group_kind in _WORKLOADS and key.namespace not in IGNORED_NAMESPACES)
    if not counts:
        return None
    [(namespace, _)] = counts.most_common(1)
    return Proxy(
        id="",
        type=ProxyType.SIDECAR,
        ips=(),
        name="",
        namespace=namespace,
        dns_domain=f"{namespace}.svc.cluster.local",
        labels=(),
        families=IpFamilies.V4,
        identity=_ANYBODY if identified else None,
    )


class KeptTables:
    """The tables that are kept, each with the time until when, the first to end first."""

    def __init__(self, db: Database, publisher: Publisher, keep_s: float) -> None:
        """Keep tables of ``publisher``, of what is in ``db``, for ``keep_s`` seconds each; 0: none."""
        self._db = db
        self._publisher = publisher
        self._keep_s = keep_s
        self._until: dict[PartGroup, float] = {}

    def close(self, root: PartGroup, now: float) -> None:
        """Give up one use of the table of ``root``; if it is the last, it is kept from ``now`` on."""
        if self._publisher.uses(root) == 1 + (root in self._until):
            self.keep(root, now)
        self._publisher.close(root)

    def keep(self, root: PartGroup, now: float) -> None:
        """Keep the table of ``root`` from ``now`` on, in seconds, unless it is a workload's own: no other one will see that."""
        if not self._keep_s or root.query is inbound_parts:
            return
        if root in self._until:
            del self._until[root]
        else:
            self._publisher.open(root)
        self._until[root] = now + self._keep_s
        if len(self._until) > _MOST:
            self._end(next(iter(self._until)))

    def expect(self, keys: Iterable[Key], now: float, *, identified: bool) -> None:
        """Keep what a typical proxy sees of a mesh whose objects are ``keys``, though none has been there."""
        proxy = typical_proxy(keys, identified=identified)
        scope = self._db.attempt(scope_of, proxy) if proxy else None
        if isinstance(scope, ProxyScope):
            for root in table_roots(scope, Variant.DELTA):
                self.keep(root, now)

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
