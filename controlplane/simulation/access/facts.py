"""What is known of a connection or a request that is judged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

from controlplane.simulation.arrival import Arrival
from controlplane.simulation.matching.head import Head
from controlplane.simulation.traffic import Address

# What filters leave for others: by filter, texts by key.
Metadata: TypeAlias = Mapping[str, Mapping[str, object]]


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessFacts:
    """What can be asked for.

    ``peer`` is the URI in the certificate that the client has shown, empty where it has shown none. ``remote_ip`` is the client's address
    as the connection manager makes it out, which may be by a header. ``metadata`` is what other filters have left, of those that it
    names; what others have left is not known.
    """

    peer: str
    direct_ip: str
    remote_ip: str
    local: Address
    server_name: str
    head: Head | None = None  # of a request; None: it is a connection
    metadata: Metadata = field(default_factory=dict)


# Filters of which is known what they have left: nothing, before they have seen anything.
_KNOWN = ("envoy.filters.http.jwt_authn", "envoy.filters.http.rbac", "envoy.filters.network.rbac")


def connection_facts(arrival: Arrival) -> AccessFacts:
    """Return what is known of the connection ``arrival``."""
    return AccessFacts(
        peer=arrival.peer,
        direct_ip=arrival.source.ip,
        remote_ip=arrival.source.ip,
        local=arrival.local,
        server_name=arrival.server_name,
        metadata={name: {} for name in _KNOWN},
    )


class ConditionResult(NamedTuple):
    """Whether a condition ``holds``, ``None`` where that depends on what is not simulated, and ``why``, in words."""

    holds: bool | None
    why: str
