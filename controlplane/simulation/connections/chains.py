"""Which filter chain of a listener a connection gets.

Envoy asks one thing after the other, in a fixed order, and goes on with those chains alone that fit it best: it never comes back. Chains
that say nothing of a thing fit where none fits better. What is left without a chain gets the default one; where there is none, it is
closed.
https://www.envoyproxy.io/docs/envoy/latest/api-v3/config/listener/v3/listener_components.proto#config-listener-v3-filterchainmatch
(Envoy's ``FilterChainManagerImpl::findFilterChain``)
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable, Iterator

from envoy.config.core.v3.address_pb2 import CidrRange
from envoy.config.listener.v3.listener_components_pb2 import FilterChain, FilterChainMatch
from envoy.config.listener.v3.listener_pb2 import Listener

from controlplane.simulation.arrival import Arrival

_LOOPBACKS = ("127.0.0.1", "::1")

# What a narrowing leaves, and why; nothing where no chain fits.
Narrowed = tuple[list[FilterChain], str]


def chosen_chain(listener: Listener, arrival: Arrival) -> tuple[FilterChain | None, str]:
    """Return the chain of ``listener`` for ``arrival``, and why."""
    left = list(listener.filter_chains)
    reasons: list[str] = []
    for narrowing in _NARROWINGS:
        if not left:
            break
        left, reason = narrowing(left, arrival)
        reasons += [reason] if reason else []
    if left:
        return left[0], "; ".join(reasons) or "it is for all connections"
    if listener.HasField("default_filter_chain"):
        return listener.default_filter_chain, "; ".join(
            [*reasons, "so the default one takes it"] if reasons else ["it is the default one, and there is no other"]
        )
    return None, "; ".join([*reasons, "and there is no default one"] if reasons else ["it has none"])


def chain_label(listener: Listener, chain: FilterChain) -> str:
    """Return the name of ``chain``, or its place in ``listener``."""
    if chain.name:
        return chain.name
    return next((f"filter_chains[{index}]" for index, each in enumerate(listener.filter_chains) if each is chain), "default_filter_chain")


def _narrowed(left: list[FilterChain], values: Callable[[FilterChainMatch], Iterable[str]], wanted: Iterable[str], what: str) -> Narrowed:
    """Return those of ``left`` that name the first of ``wanted`` that any names; those that name nothing where there is none."""
    for value in wanted:
        if found := [chain for chain in left if value in values(chain.filter_chain_match)]:
            return found, f"the {what} is {value}"
    unnamed = [chain for chain in left if not list(values(chain.filter_chain_match))]
    if len(unnamed) == len(left):
        return unnamed, ""
    return unnamed, f"no chain names its {what}" if unnamed else f"chains name another {what}"


def _by_port(left: list[FilterChain], arrival: Arrival) -> Narrowed:
    return _narrowed(left, lambda match: _number(match.destination_port.value), [str(arrival.local.port)], "destination port")


def _by_destination(left: list[FilterChain], arrival: Arrival) -> Narrowed:
    return _by_longest_prefix(left, lambda match: match.prefix_ranges, arrival.local.ip, "destination address")


def _by_server_name(left: list[FilterChain], arrival: Arrival) -> Narrowed:
    return _narrowed(left, lambda match: match.server_names, _name_and_wildcards(arrival.server_name), "server name")


def _name_and_wildcards(name: str) -> Iterator[str]:
    """Yield ``name`` and the wildcards that it fits, the longest first."""
    if not name:
        return
    yield name
    place = name.find(".", 1)
    while 0 <= place < len(name) - 1:
        yield f"*{name[place:]}"
        place = name.find(".", place + 1)


def _by_transport(left: list[FilterChain], arrival: Arrival) -> Narrowed:
    return _narrowed(left, lambda match: _text(match.transport_protocol), [arrival.transport], "transport protocol")


def _by_protocols(left: list[FilterChain], arrival: Arrival) -> Narrowed:
    return _narrowed(left, lambda match: match.application_protocols, arrival.protocols, "application protocol")


def _by_direct_source(left: list[FilterChain], arrival: Arrival) -> Narrowed:
    return _by_longest_prefix(left, lambda match: match.direct_source_prefix_ranges, arrival.source.ip, "direct source address")


def _by_source_type(left: list[FilterChain], arrival: Arrival) -> Narrowed:
    local = arrival.source.ip in {*_LOOPBACKS, arrival.local.ip}
    kind = FilterChainMatch.SAME_IP_OR_LOOPBACK if local else FilterChainMatch.EXTERNAL
    return _narrowed(left, lambda match: _source_type(match.source_type), [FilterChainMatch.ConnectionSourceType.Name(kind)], "source type")


def _by_source(left: list[FilterChain], arrival: Arrival) -> Narrowed:
    return _by_longest_prefix(left, lambda match: match.source_prefix_ranges, arrival.source.ip, "source address")


def _by_source_port(left: list[FilterChain], arrival: Arrival) -> Narrowed:
    return _narrowed(left, lambda match: map(str, match.source_ports), [str(arrival.source.port)], "source port")


_NARROWINGS = (
    _by_port,
    _by_destination,
    _by_server_name,
    _by_transport,
    _by_protocols,
    _by_direct_source,
    _by_source_type,
    _by_source,
    _by_source_port,
)


def _by_longest_prefix(left: list[FilterChain], ranges: Callable[[FilterChainMatch], Iterable[CidrRange]], ip: str, what: str) -> Narrowed:
    address = ipaddress.ip_address(ip)
    fitting: dict[int, list[FilterChain]] = {}
    for chain in left:
        blocks = [
            ipaddress.ip_network(f"{each.address_prefix}/{each.prefix_len.value}", strict=False)
            for each in ranges(chain.filter_chain_match)
        ]
        lengths = {block.prefixlen for block in blocks if address in block} if blocks else {0}
        for length in lengths:
            fitting.setdefault(length, []).append(chain)
    if not fitting:
        return [], f"the {what} {ip} is in no block that a chain names"
    longest = max(fitting)
    if not any(list(ranges(chain.filter_chain_match)) for chain in left):
        return fitting[longest], ""
    return fitting[
        longest
    ], f"the {what} {ip} is in a block of {longest} bits" if longest else f"the {what} {ip} is in no block that a chain names"


def _number(value: int) -> list[str]:
    return [str(value)] if value else []


def _text(value: str) -> list[str]:
    return [value] if value else []


def _source_type(value: FilterChainMatch.ConnectionSourceType) -> list[str]:
    return [] if value == FilterChainMatch.ANY else [FilterChainMatch.ConnectionSourceType.Name(value)]
