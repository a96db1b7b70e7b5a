"""What an HTTP filter is to the rest."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from google.protobuf.message import Message

from controlplane.objects.virtual_service import HTTPRoute


def nothing(route: HTTPRoute) -> Message | None:
    """Return that a filter has no configuration of its own for ``route``."""
    del route
    return None
    return None


@dataclass(frozen=True, slots=True)
class HttpFilter:
    """A filter of every chain of its directions; ``of_route`` gives what one route tells it, if anything."""

    name: str
    config: Message
    outbound: bool = True
    inbound: bool = False
    of_route: Callable[[HTTPRoute], Message | None] = nothing
