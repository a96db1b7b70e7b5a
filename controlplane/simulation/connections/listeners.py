"""Which listener takes a connection.

A connection that iptables redirected comes to a listener with ``use_original_dst``, which hands it to the one whose address is where the
client wanted to go: the exact address first, then the wildcard of its family and port. Where there is none, it stays. Listeners that do not
bind get nothing but what is handed to them, and nothing is handed on twice.
https://www.envoyproxy.io/docs/envoy/latest/api-v3/config/listener/v3/listener.proto#config-listener-v3-listener
(``use_original_dst``, ``bind_to_port``; Envoy's ``ConnectionHandlerImpl::getBalancedHandlerByAddress``)
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator

from envoy.config.core.v3.address_pb2 import SocketAddress
from envoy.config.listener.v3.listener_pb2 import Listener

from controlplane.simulation.traffic import Address

_WILDCARDS = {4: "0.0.0.0", 6: "::"}


def bound_listener(listeners: tuple[Listener, ...], address: Address) -> tuple[Listener | None, str]:
    """Return which of ``listeners`` the operating system gives a connection to ``address``, and why."""
    return _found([each for each in listeners if _binds(each)], address)


def addressed_listener(listeners: tuple[Listener, ...], address: Address) -> tuple[Listener | None, str]:
    """Return to which of ``listeners`` a connection is handed whose client wanted to go to ``address``, and why."""
    return _found(list(listeners), address)


def _binds(listener: Listener) -> bool:
    return not listener.HasField("bind_to_port") or listener.bind_to_port.value


def _found(listeners: list[Listener], address: Address) -> tuple[Listener | None, str]:
    for listener in listeners:
        if any(_same(bound, address) for bound in _addresses(listener)):
            return listener, f"its address is {address}"
    wildcard = Address(_WILDCARDS[ipaddress.ip_address(address.ip).version], address.port)
    for listener in listeners:
        if any(_same(bound, wildcard) for bound in _addresses(listener)):
            return listener, f"no listener has the address {address}, and this one takes port {address.port} of all addresses"
    for listener in listeners:
        if any(bound.ipv4_compat and bound.address == "::" and bound.port_value == address.port for bound in _addresses(listener)):
            return listener, f"it takes port {address.port} of all addresses of both families"
    return None, f"no listener has the address {address}, or port {address.port} of all addresses"


def _addresses(listener: Listener) -> Iterator[SocketAddress]:
    for address in (listener.address, *(additional.address for additional in listener.additional_addresses)):
        if address.HasField("socket_address"):
            yield address.socket_address


def _same(bound: SocketAddress, address: Address) -> bool:
    return bound.port_value == address.port and ipaddress.ip_address(bound.address) == ipaddress.ip_address(address.ip)
