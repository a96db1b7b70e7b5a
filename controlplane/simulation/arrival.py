"""What Envoy knows of a connection: more after each listener filter."""

from __future__ import annotations

from dataclasses import dataclass

from controlplane.simulation.traffic import Address, FirstBytes

RAW_BUFFER = "raw_buffer"  # the transport protocol of what no inspector has recognized


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """A connection as a listener has it.

    ``local`` is its destination. ``restored``: that is where the client wanted to go, and not where iptables sent it.
    ``principal`` is in the certificate that the client has, ``peer`` in the one that it has shown here.
    """

    source: Address
    local: Address
    destination: Address  # where the client wanted to go, which Envoy knows only once it is ``restored``
    first_bytes: FirstBytes
    restored: bool = False
    server_name: str = ""
    transport: str = RAW_BUFFER
    protocols: tuple[str, ...] = ()
    principal: str = ""
    peer: str = ""
