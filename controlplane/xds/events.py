"""What happened on a stream: for the fleet's record of it, the metrics and the log."""

from __future__ import annotations

from dataclasses import dataclass

from controlplane.xds.resource import Resource


@dataclass(frozen=True, slots=True)
class Subscribed:
    """What the stream asks for of ``type_url`` is now ``count`` names, and everything if ``wildcard``."""

    type_url: str
    wildcard: bool
    count: int


@dataclass(frozen=True, slots=True)
class Sent:
    """A response with ``count`` resources and ``removed`` names taken away, ``size`` bytes in all, was handed over for writing.

    ``version`` is the type's own in SotW, and empty in Delta, where each resource has one.
    """

    type_url: str
    nonce: str
    version: str
    count: int
    removed: int
    size: int


@dataclass(frozen=True, slots=True)
class Acked:
    """The proxy accepted the response ``nonce``, in which ``resources`` were new or sent again and ``removed`` are gone."""

    type_url: str
    nonce: str
    version: str
    resources: tuple[Resource, ...]
    removed: tuple[str, ...]
    without: tuple[str, ...] = ()  # parts of them that it refuses, as names of resources: they were replaced


@dataclass(frozen=True, slots=True)
class Nacked:
    """The proxy refused the response ``nonce``, in which ``resources`` were new or sent again and ``removed`` were to go.

    ``final``: one resource (or hosts that belong together) was refused alone and is at fault; else the parts are tried next, one by one.
    Those ``at_fault`` are resources, or virtual hosts in one (``TABLE/HOST``).
    """

    type_url: str
    nonce: str
    version: str
    code: int
    message: str
    resources: tuple[Resource, ...]
    removed: tuple[str, ...]
    final: bool
    at_fault: tuple[str, ...] = ()


Event = Subscribed | Sent | Acked | Nacked
