"""From an Envoy message to a Resource: encoded once, checked against Envoy's own constraints before it is sent."""

from __future__ import annotations

from google.protobuf.message import Message

from controlplane.envoy.constraints import violations
from controlplane.envoy.packing import encode
from controlplane.errors import InvalidResource
from controlplane.translate.references import references
from controlplane.xds.resource import Reference, Resource, resource


def checked_resource(type_url: str, name: str, message: Message) -> Resource:
    """Return the Resource ``name`` that holds ``message``.

    Raises InvalidResource where Envoy would refuse it for a constraint: what was published before stays.
    """
    refuse_invalid(type_url, name, message)
    return resource(type_url, name, encode(message), uses=references(message))


def refuse_invalid(type_url: str, name: str, message: Message) -> None:
    """Raise InvalidResource where ``message`` breaks a constraint of its own protobuf definition."""
    if broken := violations(message):
        raise InvalidResource(type_url, name, broken)


def encoded_resource(
    type_url: str, name: str, encoded: bytes, references: tuple[Reference, ...], exclusive: frozenset[str] = frozenset()
) -> Resource:
    """Return the Resource ``name`` made of parts that were checked and encoded before."""
    return resource(type_url, name, encoded, uses=references, exclusive=exclusive)
