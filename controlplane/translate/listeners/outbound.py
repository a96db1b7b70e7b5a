"""Listeners for connections from the workload."""

from __future__ import annotations

from envoy.config.core.v3.base_pb2 import TrafficDirection
from envoy.config.listener.v3.listener_components_pb2 import FilterChain, FilterChainMatch
from envoy.config.listener.v3.listener_pb2 import Listener
from google.protobuf.duration_pb2 import Duration

from controlplane.ir.listeners import ConnectionSettings, OutboundListener
from controlplane.model.proxies import IpFamilies
from controlplane.translate.addresses import block, listening, wildcard
from controlplane.translate.clusters.clusters import BLACK_HOLE
from controlplane.translate.listeners.network_filters import PLAIN_HTTP, TerminalFilters, http_inspector

LOOPBACK = "127.0.0.1"
HTTP_PROXY = "http_proxy"
VIRTUAL_OUTBOUND = "virtualOutbound"
_PASSTHROUGH_CHAIN = "PassthroughFilterChain"


def outbound_listener(outbound: OutboundListener, settings: ConnectionSettings) -> Listener:
    """Return the listener of ``outbound``; ``settings`` hold for its connections."""
    terminal = TerminalFilters(settings)
    listener = listening(outbound.name, (outbound.bind, *outbound.also), outbound.port, TrafficDirection.OUTBOUND)
    if not outbound.binds:
        listener.bind_to_port.value = False
    stat_prefix = f"outbound_{outbound.name}"
    sniffs = bool(outbound.route and outbound.chains)
    if outbound.route:
        match = FilterChainMatch(application_protocols=PLAIN_HTTP) if sniffs else None
        listener.filter_chains.append(FilterChain(filters=[terminal.outbound_http(stat_prefix, outbound.route)], filter_chain_match=match))
    if sniffs:
        listener.listener_filters.append(http_inspector())
        listener.listener_filters_timeout.CopyFrom(Duration())
        listener.continue_on_listener_filters_timeout = True
    for chain in outbound.chains:
        message = FilterChain(filters=[terminal.tcp(chain.cluster, chain.cluster)])
        if chain.cidr:
            message.filter_chain_match.prefix_ranges.append(block(chain.cidr))
            listener.filter_chains.append(message)
        elif sniffs:
            message.name = _PASSTHROUGH_CHAIN
            listener.default_filter_chain.CopyFrom(message)
        else:
            listener.filter_chains.append(message)
    return listener


def http_proxy(port: int, settings: ConnectionSettings) -> Listener:
    """Return the listener that applications name as their HTTP proxy."""
    terminal = TerminalFilters(settings)
    listener = listening(HTTP_PROXY, (LOOPBACK,), port, TrafficDirection.OUTBOUND)
    listener.filter_chains.append(FilterChain(filters=[terminal.outbound_http(HTTP_PROXY, HTTP_PROXY)]))
    return listener


def virtual_outbound(port: int, catch_all: str, settings: ConnectionSettings, families: IpFamilies = IpFamilies.V4) -> Listener:
    """Return the listener that iptables send every outbound connection of ``families`` to.

    Those that no other listener is for go to ``catch_all``.
    """
    terminal = TerminalFilters(settings)
    listener = listening(VIRTUAL_OUTBOUND, wildcard(families), port, TrafficDirection.OUTBOUND)
    listener.use_original_dst.value = True
    listener.filter_chains.append(
        FilterChain(
            name="virtualOutbound-blackhole",
            filter_chain_match=FilterChainMatch(destination_port={"value": port}),
            filters=[terminal.tcp(BLACK_HOLE, BLACK_HOLE)],
        )
    )
    listener.default_filter_chain.CopyFrom(FilterChain(name="virtualOutbound-catchall-tcp", filters=[terminal.tcp(catch_all, catch_all)]))
    return listener
