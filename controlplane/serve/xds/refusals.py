"""What proxies refuse now, as Problems of the objects and fields that made it."""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Callable, Iterable

from controlplane.fleet.streams import Fleet, StreamRefusal
from controlplane.mesh.mesh import Mesh
from controlplane.model.keys import Key
from controlplane.model.problems import REFUSED, FieldAtFault, Problem, Severity
from controlplane.serve.xds.subscribers import Subscribers

_RECENT_S = 1.0
_MESSAGE = 1000  # characters of what a proxy says


def fields_at_fault(mesh: Mesh, subscribers: Subscribers, connection: int, refusal: StreamRefusal) -> tuple[FieldAtFault, ...]:
    """Return what is to blame for the ``refusal`` of ``connection``."""
    session = next((stream.session for stream in subscribers.streams() if stream.connection == connection), None)
    return mesh.fields_at_fault(session.view.tables, refusal.type_url, refusal.name, refusal.message) if session else ()


def refusal_problems(subscribers: Subscribers, fleet: Fleet) -> tuple[Problem, ...]:
    """Return a Problem for each field that made something that proxies of ``subscribers`` refuse, with what one of them said."""
    refused_by: dict[tuple[FieldAtFault | None, str, str], list[str]] = defaultdict(list)
    for stream in subscribers.streams():
        for refusal in fleet.refusals(stream.connection):
            if stream.refuses(refusal.type_url, refusal.name):
                resource = f"{refusal.type_url.rpartition('.')[2]} {refusal.name}"
                for at_fault in refusal.at_fault or (None,):
                    refused_by[at_fault, resource, refusal.message[:_MESSAGE]].append(stream.session.proxy.id)
    return tuple(_problem(at_fault, resource, message, proxies) for (at_fault, resource, message), proxies in refused_by.items())


class RecentRefusals:
    """The Problems of refusals by object, for who asks about one object after the other: as they were a second ago at most."""

    def __init__(self, subscribers: Subscribers, fleet: Fleet, clock: Callable[[], float] = time.monotonic) -> None:
        """Look at what ``subscribers`` refuse, by ``fleet``."""
        self._subscribers = subscribers
        self._fleet = fleet
        self._clock = clock
        self._read_at = -math.inf
        self._by_object: dict[Key | None, list[Problem]] = {}

    def about(self, key: Key) -> tuple[Problem, ...]:
        """Return the Problems of ``key``."""
        if self._clock() - self._read_at > _RECENT_S:
            self._read_at = self._clock()
            self._by_object = defaultdict(list)
            for problem in refusal_problems(self._subscribers, self._fleet):
                self._by_object[problem.object].append(problem)
        return tuple(self._by_object.get(key, ()))


def _problem(at_fault: FieldAtFault | None, resource: str, message: str, proxies: Iterable[str]) -> Problem:
    first, *others = sorted(set(proxies))
    who = f"{first} and {len(others)} more" if others else first
    key, field = at_fault or (None, "")
    return Problem(key, field, Severity.ERROR, REFUSED, f"{who} refused {resource}, and keeps what it had: {message}")
