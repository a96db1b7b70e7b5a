"""A discovery server whose streams are decided by machines of the test."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterable

from envoy.service.discovery.v3.discovery_pb2 import DeltaDiscoveryRequest

from controlplane.app.update_loop import UpdateLoop
from controlplane.mesh.mesh import Mesh
from controlplane.model.proxies import Proxy
from controlplane.serve.authn.authenticators import PlaintextAuthenticator
from controlplane.serve.authn.refused_callers import RefusedCallers
from controlplane.serve.server import DiscoveryServer, ListenAddress, StreamFactories
from controlplane.serve.xds.subscribers import Subscribers
from controlplane.xds.events import Event, Sent
from controlplane.xds.resource import Resource
from controlplane.xds.sotw import SotwStream
from controlplane.xds.stream import Progress, Response, Variant
from controlplane.xds.view import TableChange, View


class Machine:
    """A machine that does as told."""

    def __init__(self, take: Callable[[], Response | None], receive: Callable[[], None] = lambda: None) -> None:
        self._take = take
        self._receive = receive

    @property
    def has_work(self) -> bool:
        return True

    @property
    def size(self) -> int:
        return 0

    @property
    def open_names(self) -> int:
        return 0

    def unanswered(self) -> int:
        return 0

    def receive(self, request: DeltaDiscoveryRequest) -> tuple[Event, ...]:
        del request
        self._receive()
        return ()

    def refuses(self, type_url: str, name: str) -> bool:
        del type_url, name
        return False

    def progress(self, resource: Resource) -> Progress:
        raise NotImplementedError

    def renew(self) -> None:
        raise NotImplementedError

    def changed(self, change: TableChange) -> None:
        raise NotImplementedError

    def see(self, view: View) -> None:
        raise NotImplementedError

    def take(self) -> Response | None:
        return self._take()


class Books:
    """Counts streams and responses."""

    def __init__(self) -> None:
        self.open: set[int] = set()
        self.sent = 0

    def connected(self, connection: int, proxy: Proxy, variant: Variant) -> None:
        del proxy, variant
        self.open.add(connection)

    def record(self, connection: int, events: Iterable[Event]) -> None:
        del connection
        self.sent += len([event for event in events if isinstance(event, Sent)])

    def disconnected(self, connection: int) -> None:
        self.open.remove(connection)


class Running:
    def __init__(self, mesh: Mesh, updates: UpdateLoop, subscribers: Subscribers, books: Books, address: str) -> None:
        self.mesh = mesh
        self.updates = updates
        self.subscribers = subscribers
        self.books = books
        self.address = address


@contextlib.asynccontextmanager
async def serving_by(machine: Callable[[View], Machine], *, sources: tuple[str, ...] = ()) -> AsyncIterator[Running]:
    mesh, books = Mesh(), Books()
    updates = UpdateLoop(mesh, sources)
    subscribers = Subscribers(mesh, updates.wake)
    machines = StreamFactories(lambda view, only: SotwStream(view, only=only), lambda view, _: machine(view))
    server = DiscoveryServer(subscribers, updates.synced, machines, books)
    [port] = await server.start([ListenAddress("127.0.0.1:0", PlaintextAuthenticator(RefusedCallers()))])
    work = asyncio.create_task(updates.run(subscribers.publish))
    try:
        yield Running(mesh, updates, subscribers, books, f"127.0.0.1:{port}")
    finally:
        await server.stop(0.1, lambda: 0.0)
        work.cancel()
