"""The face that both protocol machines show to whoever moves their bytes."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, StrEnum, auto
from typing import Protocol, TypeVar

from controlplane.errors import PeerError
from controlplane.xds.events import Event, Sent
from controlplane.xds.resource import Resource
from controlplane.xds.view import TableChange, View

RequestT_contra = TypeVar("RequestT_contra", contravariant=True)


class BadRequest(PeerError):
    """The client broke the protocol so that the stream has to end (INVALID_ARGUMENT)."""


class Variant(StrEnum):
    """Which of the two protocols a stream speaks."""

    SOTW = "sotw"
    DELTA = "delta"


class VirtualHostsBy(Enum):
    """How virtual hosts come to a stream."""

    RDS = auto()  # in their RouteConfiguration
    VHDS = auto()  # as resources of their own


class Progress(Enum):
    """How far a client has come with a resource that is published."""

    UNNEEDED = auto()  # it does not ask for it
    PENDING = auto()
    ACCEPTED = auto()
    REFUSED = auto()
    PARTLY = auto()  # accepted but for virtual hosts in it that it refuses


@dataclass(frozen=True, slots=True)
class Response:
    """A response whose ``payload`` is ready for the wire, and what to tell others about it."""

    payload: bytes
    event: Sent

    @property
    def type_url(self) -> str:
        """Return the type of its resources."""
        return self.event.type_url

    @property
    def nonce(self) -> str:
        """Return its nonce."""
        return self.event.nonce


class Stream(Protocol[RequestT_contra]):
    """One stream of a client, without I/O. Nothing is queued: a response is composed from the newest state when it is taken."""

    @property
    def has_work(self) -> bool:
        """Return whether ``take`` may have something."""

    @property
    def size(self) -> int:
        """Return how many names are kept for the client, of all types."""

    @property
    def open_names(self) -> int:
        """Return about how many names ``take`` has to look at."""

    def unanswered(self) -> int:
        """Return of how many names that the client asks for it has nothing; each is looked at."""

    def receive(self, request: RequestT_contra) -> tuple[Event, ...]:
        """Take ``request`` in and return what it meant; raise BadRequest where it ends the stream."""

    def changed(self, change: TableChange) -> None:
        """Take note that ``change`` has happened to a table of this stream's view."""

    def see(self, view: View) -> None:
        """Look at ``view`` from now on."""

    def renew(self) -> None:
        """Have the client told to keep what it would otherwise drop soon."""

    def progress(self, resource: Resource) -> Progress:
        """Return how far the client has come with ``resource``, which is published."""

    def refuses(self, type_url: str, name: str) -> bool:
        """Return whether the client refuses what is published as ``name``, as far as it is known."""

    def take(self) -> Response | None:
        """Return the next response, to be written before the one after it is taken; ``None``: nothing to send now."""
