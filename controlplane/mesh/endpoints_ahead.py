"""Endpoints that have changed are published ahead of all else that a refresh has to do: their clusters are out already.

What may go ahead, and why that is consistent, is in ``docs/decisions/endpoints-ahead.md``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from controlplane.incremental.database import Database, QueryCall
from controlplane.mesh.destinations.clusters import ClusterTarget, endpoint_assignment, has_endpoints, outbound_cluster
from controlplane.mesh.inputs import Applied, index, objects
from controlplane.mesh.publish.parts import ResourcePart
from controlplane.mesh.publish.publisher import Changes, Publisher
from controlplane.mesh.shards import Facet
from controlplane.model.keys import ENDPOINT_KINDS, Key
from controlplane.xds.view import Table, TableChange


class EndpointsAhead:
    """What facts about endpoints have touched since the last refresh, and is not published yet."""

    def __init__(self, db: Database, publisher: Publisher) -> None:
        """Note nothing yet; what goes ahead is asked of ``db``, and published by ``publisher``."""
        self._db = db
        self._publisher = publisher
        self._touched: dict[Key | Facet, None] = {}
        self._targets: dict[ClusterTarget, None] = {}

    def note(self, applied: Applied) -> None:
        """Note what was ``applied``."""
        self._touched.update(dict.fromkeys(key for key in applied.keys if key.group_kind in ENDPOINT_KINDS))
        self._touched.update(dict.fromkeys(applied.endpoint_facets))

    def clear(self) -> None:
        """Forget it all: a refresh publishes everything."""
        self._touched.clear()
        self._targets.clear()

    def publish(self, stop: Callable[[], bool]) -> tuple[Changes, bool]:
        """Publish the endpoints that were touched until ``stop`` says so; return what has changed, and whether that is all."""
        changes: list[tuple[Table, TableChange]] = []
        while self._targets or self._touched:
            if self._targets:
                target, _ = self._targets.popitem()
                changes += self._renew(target)
            else:
                touched, _ = self._touched.popitem()
                self._targets.update(dict.fromkeys(self._targets_of(touched)))
            if stop():
                break
        return tuple(changes), not (self._targets or self._touched)

    def _renew(self, target: ClusterTarget) -> Changes:
        if self._db.attempt(has_endpoints, target) is not True:
            return ()  # what sends requests there may be about to change too: it is not left without endpoints before that
        clusters = [ResourcePart(outbound_cluster, (target, identified)) for identified in (False, True)]
        return self._publisher.renew(ResourcePart(endpoint_assignment, (target,)), clusters)

    def _targets_of(self, touched: Key | Facet) -> Iterator[ClusterTarget]:
        for call in self._readers(touched):
            if call.query is endpoint_assignment and isinstance(target := call.args[0], ClusterTarget):
                yield target

    def _readers(self, touched: Key | Facet) -> Iterator[QueryCall]:
        return self._db.dependents(objects, touched) if isinstance(touched, Key) else self._db.dependents(index, touched)
