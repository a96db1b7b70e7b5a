"""Clients that say what a test tells them to, and read what comes back with real protobuf."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from envoy.service.discovery.v3.discovery_pb2 import (
    DeltaDiscoveryRequest,
    DeltaDiscoveryResponse,
    DiscoveryRequest,
    DiscoveryResponse,
)

from controlplane.xds.delta import DeltaStream
from controlplane.xds.events import Event, Sent
from controlplane.xds.resource import Resource
from controlplane.xds.shared_plans import SharedPlans
from controlplane.xds.sotw import SotwStream
from controlplane.xds.stream import Response
from controlplane.xds.view import Table, View
from tests.support.fakes.resources import read

SHARED_PLANS = SharedPlans(from_names=1)  # of all these clients: what one is sent must be right for every other in its state


@dataclass(frozen=True)
class Heard:
    """One response: the revision of each resource by name, the names removed, and how it is called."""

    type_url: str
    says: Mapping[str, int]
    removed: tuple[str, ...]
    nonce: str
    version: str
    versions: Mapping[str, str]
    raw: bytes


def table(*resources: Resource) -> Table:
    """Return a table of ``resources``."""
    filled = Table("test")
    put(filled, resources)
    return filled


def put(into: Table, resources: Iterable[Resource]) -> None:
    """Publish ``resources`` in the table ``into`` before anyone looks at it."""
    into.apply(_by_type(resources), {})


class Conversation:
    """What is common to both protocols: the server's side of the dialogue, and what was heard."""

    def __init__(self, stream: DeltaStream | SotwStream, view: View) -> None:
        """Talk to ``stream``, which sees ``view``; changes are made in the first table of the view."""
        self.stream: DeltaStream | SotwStream = stream
        self.table = view.tables[0]
        self.events: list[Event] = []
        self.sent: dict[str, Sent] = {}  # by nonce

    def change(self, *resources: Resource, gone: Iterable[tuple[str, str]] = ()) -> list[Heard]:
        """Publish ``resources`` and take away the (type, name)s that are ``gone``, as one; return what is heard."""
        removed: dict[str, frozenset[str]] = {}
        for type_url, name in gone:
            removed[type_url] = removed.get(type_url, frozenset()) | {name}
        self.stream.changed(self.table.apply(_by_type(resources), removed))
        return self.heard()

    def heard(self) -> list[Heard]:
        """Return all that the server has to say."""
        found = []
        while response := self.stream.take():
            found.append(self._read(response))
            self.sent[response.nonce] = response.event
        return found

    def _read(self, response: Response) -> Heard:
        raise NotImplementedError


class DeltaClient(Conversation):
    """A client that speaks Delta."""

    def __init__(self, *resources: Resource, only: str | None = None, view: View | None = None) -> None:
        """Open a stream to a server that publishes ``resources``."""
        view = view or View(table(*resources))
        self.delta = DeltaStream(view, only=only, shared=SHARED_PLANS)
        super().__init__(self.delta, view)

    def ask(
        self, type_url: str, *names: str, drop: Iterable[str] = (), versions: Mapping[str, str] | None = None, nonce: str = ""
    ) -> list[Heard]:
        """Subscribe to ``names`` and unsubscribe from ``drop``; return what is heard."""
        self.tell(type_url, *names, drop=drop, versions=versions, nonce=nonce)
        return self.heard()

    def tell(
        self, type_url: str, *names: str, drop: Iterable[str] = (), versions: Mapping[str, str] | None = None, nonce: str = ""
    ) -> None:
        """Subscribe to ``names`` and unsubscribe from ``drop``, and do not listen yet."""
        self._say(
            DeltaDiscoveryRequest(
                type_url=type_url,
                resource_names_subscribe=names,
                resource_names_unsubscribe=drop,
                initial_resource_versions=versions or {},
                response_nonce=nonce,
            )
        )

    def ack(self, response: Heard, *names: str, drop: Iterable[str] = ()) -> list[Heard]:
        """Accept ``response``, and subscribe and unsubscribe in the same breath."""
        return self.ask(response.type_url, *names, drop=drop, nonce=response.nonce)

    def nack(self, response: Heard, *names: str, message: str = "no") -> list[Heard]:
        """Refuse ``response``."""
        self.judge(response, message, *names)
        return self.heard()

    def judge(self, response: Heard, error: str, *names: str) -> None:
        """Accept ``response``, or refuse it for ``error``, subscribe to ``names``, and do not listen yet."""
        request = DeltaDiscoveryRequest(type_url=response.type_url, response_nonce=response.nonce, resource_names_subscribe=names)
        if error:
            request.error_detail.code = 13
            request.error_detail.message = error
        self._say(request)

    def _say(self, request: DeltaDiscoveryRequest) -> None:
        self.events += self.delta.receive(DeltaDiscoveryRequest.FromString(request.SerializeToString()))

    def settle(self, responses: Iterable[Heard]) -> list[Heard]:
        """Accept ``responses`` and all that follow; return all of them in the order heard."""
        return _settled(self.ack, responses)

    def _read(self, response: Response) -> Heard:
        message = DeltaDiscoveryResponse.FromString(response.payload)
        assert message.control_plane.identifier
        assert (message.type_url, message.nonce) == (response.type_url, response.nonce)
        says = {}
        for each in message.resources:
            assert each.resource.type_url == message.type_url
            name, says[each.name] = read(message.type_url, each.resource.value)
            assert name == each.name
            assert each.version
        names = [each.name for each in message.resources] + list(message.removed_resources)
        assert len(names) == len(set(names)), "XP-12: a name stands twice in one response"
        versions = {each.name: each.version for each in message.resources}
        return Heard(message.type_url, says, tuple(message.removed_resources), message.nonce, "", versions, response.payload)


class SotwClient(Conversation):
    """A client that speaks the state of the world: it repeats all names in each request, as Envoy does."""

    def __init__(self, *resources: Resource, only: str | None = None, view: View | None = None) -> None:
        """Open a stream to a server that publishes ``resources``."""
        view = view or View(table(*resources))
        self.sotw = SotwStream(view, only=only, shared=SHARED_PLANS)
        super().__init__(self.sotw, view)
        self.names: dict[str, tuple[str, ...]] = {}
        self.last: dict[str, tuple[str, str]] = {}  # version and nonce last accepted

    def ask(self, type_url: str, *names: str) -> list[Heard]:
        """Ask for exactly ``names``, with the last nonce; return what is heard."""
        self.names[type_url] = names
        version, nonce = self.last.get(type_url, ("", ""))
        return self.say(type_url, names, version, nonce)

    def ack(self, response: Heard) -> list[Heard]:
        """Accept ``response``."""
        self.last[response.type_url] = response.version, response.nonce
        return self.ask(response.type_url, *self.names[response.type_url])

    def nack(self, response: Heard, message: str = "no") -> list[Heard]:
        """Refuse ``response``."""
        version, _ = self.last.get(response.type_url, ("", ""))
        self.last[response.type_url] = version, response.nonce
        return self.say(response.type_url, self.names[response.type_url], version, response.nonce, message)

    def say(self, type_url: str, names: Iterable[str], version: str = "", nonce: str = "", error: str = "") -> list[Heard]:
        """Send a request of these very words; return what is heard."""
        self.tell(type_url, names, version, nonce, error)
        return self.heard()

    def tell(self, type_url: str, names: Iterable[str], version: str = "", nonce: str = "", error: str = "") -> None:
        """Send a request of these very words, and do not listen yet."""
        request = DiscoveryRequest(type_url=type_url, resource_names=names, version_info=version, response_nonce=nonce)
        if error:
            request.error_detail.code = 13
            request.error_detail.message = error
        self.events += self.sotw.receive(DiscoveryRequest.FromString(request.SerializeToString()))

    def settle(self, responses: Iterable[Heard]) -> list[Heard]:
        """Accept ``responses`` and all that follow; return all of them in the order heard."""
        return _settled(self.ack, responses)

    def _read(self, response: Response) -> Heard:
        message = DiscoveryResponse.FromString(response.payload)
        assert message.control_plane.identifier
        assert message.version_info
        assert (message.type_url, message.nonce) == (response.type_url, response.nonce)
        assert all(each.type_url == message.type_url for each in message.resources)
        found = [read(message.type_url, each.value) for each in message.resources]
        assert len(found) == len(dict(found)), "XP-12: a name stands twice in one response"
        return Heard(message.type_url, dict(found), (), message.nonce, message.version_info, {}, response.payload)


def _settled(ack: Callable[[Heard], list[Heard]], responses: Iterable[Heard]) -> list[Heard]:
    found: list[Heard] = []
    waiting = list(responses)
    while waiting:
        found.append(waiting.pop(0))
        waiting += ack(found[-1])
    return found


def _by_type(resources: Iterable[Resource]) -> dict[str, dict[str, Resource]]:
    found: dict[str, dict[str, Resource]] = {}
    for each in resources:
        found.setdefault(each.type_url, {})[each.name] = each
    return found
