"""What proxies refuse now, as Problems of the objects and fields that made it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from controlplane.fleet.rollout import ResourceRefusal
from controlplane.fleet.streams import Fleet, StreamRefusal
from controlplane.mesh.mesh import Mesh
from controlplane.model.keys import Key
from controlplane.model.problems import REFUSED, FieldAtFault, Problem, Severity
from controlplane.serve.xds.subscribers import Subscribers
from controlplane.slices import LoopShare
from controlplane.xds.stream import Progress

_MESSAGE = 1000  # characters of what a proxy says


class RefusalBy(NamedTuple):
    """That a proxy, by its id, refuses something on a connection."""

    proxy: str
    connection: int
    refusal: StreamRefusal


def fields_at_fault(mesh: Mesh, subscribers: Subscribers, connection: int, refusal: StreamRefusal) -> tuple[FieldAtFault, ...]:
    """Return what is to blame for the ``refusal`` of ``connection``."""
    stream = subscribers.stream(connection)
    return mesh.fields_at_fault(stream.session, refusal.type_url, refusal.name, refusal.message) if stream else ()


def withdraw_patches(mesh: Mesh, subscribers: Subscribers, wake: Callable[[], None], connection: int, refusal: StreamRefusal) -> None:
    """Have what ``connection`` refuses sent without a patch that may be at fault; ``wake`` has that published.

    Not where something newer is published: that may lack the patch already which the proxy means, and another would be left out for it.
    """
    stream = subscribers.stream(connection)
    published = stream.session.view.get(refusal.type_url, refusal.name) if stream else None
    if stream and published and stream.progress(published) is Progress.PENDING:
        return
    if stream and mesh.withdraw_patches(stream.session, refusal.type_url, refusal.name, refusal.message):
        wake()


def refusal_problems(subscribers: Subscribers, fleet: Fleet) -> Iterator[tuple[Problem, ...]]:
    """Yield, in pieces, a Problem for each field that made something that proxies of ``subscribers`` refuse, with what one of them said."""
    refused_by: dict[tuple[FieldAtFault | None, str, str], set[str]] = defaultdict(set)
    for proxy, _, refusal in _refusals(subscribers, fleet):
        for at_fault in refusal.at_fault or (None,):
            refused_by[at_fault, _resource(refusal), refusal.message.strip()[:_MESSAGE]].add(proxy)
        yield ()
    for refused, proxies in refused_by.items():
        yield (_problem(*refused, proxies),)


class RefusalsByObject:
    """What is refused, by the objects that are to blame, for who asks about one object after the other: as of the last ``look``."""

    def __init__(self, subscribers: Subscribers, fleet: Fleet) -> None:
        """Look at what ``subscribers`` refuse, by ``fleet``."""
        self._subscribers = subscribers
        self._fleet = fleet
        self._share = LoopShare()
        self._by_object: Mapping[Key, Sequence[tuple[int, ResourceRefusal]]] = {}

    async def look(self) -> None:
        """Look at what is refused now."""
        by_object: dict[Key, list[tuple[int, ResourceRefusal]]] = defaultdict(list)
        async for proxy, connection, refusal in self._share.in_slices(_refusals(self._subscribers, self._fleet)):
            for key, field in refusal.at_fault:
                refused = ResourceRefusal(proxy, _resource(refusal), f"{field}: {refusal.message}")
                by_object[key].append((connection, refused))
        self._by_object = by_object

    def of(self, key: Key) -> Sequence[tuple[int, ResourceRefusal]]:
        """Return the refusals that ``key`` is to blame for, each with its connection."""
        return self._by_object.get(key, ())


def _refusals(subscribers: Subscribers, fleet: Fleet) -> Iterator[RefusalBy]:
    """Yield what each stream refuses of what is published, one by one."""
    for stream in subscribers.streams():
        for refusal in fleet.refusals(stream.connection):
            if stream.refuses(refusal.type_url, refusal.name):
                yield RefusalBy(stream.session.proxy.id, stream.connection, refusal)


def _resource(refusal: StreamRefusal) -> str:
    return f"{refusal.type_url.rpartition('.')[2]} {refusal.name}"


def _problem(at_fault: FieldAtFault | None, resource: str, message: str, proxies: set[str]) -> Problem:
    first, others = min(proxies), len(proxies) - 1
    who = f"{first} and {others} more" if others else first
    key, field = at_fault or (None, "")
    return Problem(key, field, Severity.ERROR, REFUSED, f"{who} refused {resource}, and keeps what it had: {message}")
