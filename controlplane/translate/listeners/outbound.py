"""Listeners for connections from the workload."""

from __future__ import annotations

from collections.abc import Iterator
from typing import assert_never

from envoy.config.core.v3.base_pb2 import TrafficDirection
from envoy.config.listener.v3.listener_components_pb2 import Filter, FilterChain, FilterChainMatch, ListenerFilter
from envoy.config.listener.v3.listener_pb2 import Listener

from controlplane.ir.extensions.chains import ChainExtension
from controlplane.ir.listeners import (
    EVERY_CONNECTION,
    ConnectionSettings,
    Handling,
    HttpRouting,
    OutboundChain,
    OutboundListener,
    ProtocolDetection,
    TcpForwarding,
)
from controlplane.model.proxies import IpFamilies
from controlplane.translate.addresses import listening, wildcard
from controlplane.translate.clusters.clusters import BLACK_HOLE, PASSTHROUGH
from controlplane.translate.listeners.network_filters import (
    PLAIN_HTTP,
    TerminalFilters,
    complete,
    filter_chain_match,
    http_inspector,
    inspect,
    named_plainly,
    tls_inspector,
)

LOOPBACK = "127.0.0.1"
HTTP_PROXY = "http_proxy"
VIRTUAL_OUTBOUND = "virtualOutbound"
_PASSTHROUGH_CHAIN = "PassthroughFilterChain"
_NOT_TLS = "raw_buffer"  # what the TLS inspector calls all else


def outbound_listener(outbound: OutboundListener, settings: ConnectionSettings, extensions: tuple[ChainExtension, ...] = ()) -> Listener:
    """Return the listener of ``outbound``; ``settings`` hold for its connections, and they pass ``extensions``."""
    listener = listening(outbound.name, (outbound.bind, *outbound.also), outbound.port, TrafficDirection.OUTBOUND)
    if not outbound.binds:
        listener.bind_to_port.value = False
    chains = _Chains(f"outbound_{outbound.name}", TerminalFilters(settings, extensions, outbound.port), reads_names=_reads_names(outbound))
    for chain in outbound.chains:
        listener.filter_chains.extend(chains.of(chain))
    _default(listener, outbound.default, chains)
    inspect(listener, _inspectors(outbound), settings)
    if outbound.binds:  # without iptables; with them the listener of inbound connections has it
        named_plainly(listener, settings)
    return complete(listener, settings)


class _Chains:
    """The filter chains of a listener. ``reads_names``: it tells TLS from the rest."""

    def __init__(self, stat_prefix: str, terminal: TerminalFilters, *, reads_names: bool) -> None:
        self._stat_prefix = stat_prefix
        self._terminal = terminal
        self._transport = _NOT_TLS if reads_names else ""

    def of(self, chain: OutboundChain) -> list[FilterChain]:
        match = filter_chain_match(chain.match)
        handling = chain.handling
        if not isinstance(handling, ProtocolDetection):
            return [FilterChain(filter_chain_match=match, filters=self.filters(handling))]
        http, plain, other = (FilterChain(filter_chain_match=match) for _ in range(3))
        http.CopyFrom(self.http(handling.http, match))
        plain.filter_chain_match.transport_protocol = self._transport
        for message in (plain, other):
            message.filters.extend(self.filters(handling.other))
        return [http, plain, other] if self._transport else [http, other]

    def http(self, routing: HttpRouting, match: FilterChainMatch | None = None) -> FilterChain:
        """Return the chain of requests in plaintext among what ``match`` says."""
        message = FilterChain(filter_chain_match=match, filters=self.filters(routing))
        message.filter_chain_match.transport_protocol = self._transport
        message.filter_chain_match.application_protocols.extend(PLAIN_HTTP)
        return message

    def filters(self, handling: HttpRouting | TcpForwarding) -> list[Filter]:
        """Return the filters of a chain: users' own, then what handles connections as ``handling`` says."""
        match handling:
            case HttpRouting():
                return [*self._terminal.network_extensions(), self._terminal.outbound_http(self._stat_prefix, handling)]
            case TcpForwarding():
                return [*self._terminal.network_extensions(), self._terminal.forwarding(handling)]
            case _:
                assert_never(handling)


def _reads_names(outbound: OutboundListener) -> bool:
    return any(chain.match.server_names for chain in outbound.chains)


def _default(listener: Listener, default: Handling, chains: _Chains) -> None:
    """Have ``listener`` handle the rest as ``default`` says; a chain alone takes everything by itself."""
    if isinstance(default, ProtocolDetection):
        listener.filter_chains.append(chains.http(default.http))
        default = default.other
    elif not listener.filter_chains:
        listener.filter_chains.extend(chains.of(OutboundChain(EVERY_CONNECTION, default)))
        return
    rest = FilterChain(filters=chains.filters(default))
    if isinstance(default, TcpForwarding) and default.clusters[0][0] in (PASSTHROUGH, BLACK_HOLE):
        rest.name = _PASSTHROUGH_CHAIN
    listener.default_filter_chain.CopyFrom(rest)


def _inspectors(outbound: OutboundListener) -> Iterator[ListenerFilter]:
    """Yield what reads as much of a connection as the chains of ``outbound`` are told by."""
    if _reads_names(outbound):
        yield tls_inspector()
    handlings = (outbound.default, *(chain.handling for chain in outbound.chains))
    if any(isinstance(handling, ProtocolDetection) for handling in handlings):
        yield http_inspector()


def http_proxy(port: int, settings: ConnectionSettings, extensions: tuple[ChainExtension, ...] = ()) -> Listener:
    """Return the listener that applications name as their HTTP proxy; ``extensions`` are passed on the way."""
    terminal = TerminalFilters(settings, extensions)
    listener = listening(HTTP_PROXY, (LOOPBACK,), port, TrafficDirection.OUTBOUND)
    manager = terminal.outbound_http(HTTP_PROXY, HttpRouting(HTTP_PROXY))
    listener.filter_chains.append(FilterChain(filters=[*terminal.network_extensions(), manager]))
    return complete(listener, settings)


def virtual_outbound(
    port: int,
    catch_all: str,
    settings: ConnectionSettings,
    families: IpFamilies = IpFamilies.V4,
    extensions: tuple[ChainExtension, ...] = (),
) -> Listener:
    """Return the listener that iptables send every outbound connection of ``families`` to.

    Those that no other listener is for go past ``extensions`` to ``catch_all``.
    """
    terminal = TerminalFilters(settings, extensions)
    listener = listening(VIRTUAL_OUTBOUND, wildcard(families), port, TrafficDirection.OUTBOUND)
    listener.use_original_dst.value = True
    listener.filter_chains.append(
        FilterChain(
            name="virtualOutbound-blackhole",
            filter_chain_match=FilterChainMatch(destination_port={"value": port}),
            filters=[terminal.tcp(BLACK_HOLE, BLACK_HOLE)],
        )
    )
    passed = [*terminal.network_extensions(), terminal.outbound_tcp(catch_all)]
    listener.default_filter_chain.CopyFrom(FilterChain(name="virtualOutbound-catchall-tcp", filters=passed))
    return complete(listener, settings)
