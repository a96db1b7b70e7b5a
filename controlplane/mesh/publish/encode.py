"""From an Envoy message to a Resource: encoded once, checked against Envoy's own constraints before it is sent."""

from __future__ import annotations

from dataclasses import replace

from google.protobuf.message import Message

from controlplane.envoy.constraints import violations
from controlplane.envoy.packing import encode
from controlplane.errors import InvalidResource
from controlplane.model.deferrals import NONE_MISSING, MissingDestinations
from controlplane.translate.references import references
from controlplane.xds.resource import Resource, resource


def checked_resource(type_url: str, name: str, message: Message, missing: MissingDestinations = NONE_MISSING) -> Resource:
    """Return the Resource ``name`` that holds ``message``, which leads nowhere for the destinations ``missing``.

    Raises InvalidResource where Envoy would refuse it for a constraint: what was published before stays.
    """
    refuse_invalid(type_url, name, message)
    return replace(resource(type_url, name, encode(message), uses=references(message)), missing=missing)


def refuse_invalid(type_url: str, name: str, message: Message) -> None:
    """Raise InvalidResource where ``message`` breaks a constraint of its own protobuf definition."""
    if broken := violations(message):
        raise InvalidResource(type_url, name, broken)
