"""Listeners for connections to the workload."""

from __future__ import annotations

from collections.abc import Iterator

from envoy.config.core.v3.base_pb2 import TrafficDirection
from envoy.config.listener.v3.listener_components_pb2 import FilterChain, FilterChainMatch
from envoy.config.listener.v3.listener_pb2 import Listener
from google.protobuf.duration_pb2 import Duration

from controlplane.model.protocols import Protocol
from controlplane.translate.clusters import BLACK_HOLE, INBOUND_PASSTHROUGH, InboundPort
from controlplane.translate.common import socket_address
from controlplane.translate.connections import PLAIN_HTTP, http_inspector, inbound_http, original_destination, tcp
from controlplane.translate.listeners import WILDCARD
from controlplane.translate.routes import inbound_route, pass_through_route

VIRTUAL_INBOUND = "virtualInbound"


def virtual_inbound(port: int, ports: tuple[InboundPort, ...]) -> Listener:
    """Return the listener that iptables send every inbound connection to, with chains for each of ``ports``, and for all others."""
    listener = _listener(VIRTUAL_INBOUND, WILDCARD, port)
    listener.listener_filters.append(original_destination())
    listener.filter_chains.append(
        FilterChain(
            name="virtualInbound-blackhole",
            filter_chain_match=FilterChainMatch(destination_port={"value": port}),
            filters=[tcp(BLACK_HOLE, BLACK_HOLE)],
        )
    )
    for each in ports:
        listener.filter_chains.extend(_chains(each, FilterChainMatch(destination_port={"value": each.port})))
    listener.filter_chains.append(
        FilterChain(
            name="virtualInbound-catchall-http",
            filter_chain_match=FilterChainMatch(application_protocols=PLAIN_HTTP),
            filters=[inbound_http(INBOUND_PASSTHROUGH, pass_through_route())],
        )
    )
    listener.default_filter_chain.CopyFrom(FilterChain(name=VIRTUAL_INBOUND, filters=[tcp(INBOUND_PASSTHROUGH, INBOUND_PASSTHROUGH)]))
    _sniff(listener)
    return listener


def inbound_listener(port: InboundPort) -> Listener:
    """Return the listener that binds ``port`` itself, where no iptables are."""
    listener = _listener(f"{port.bind}_{port.port}", port.bind, port.port)
    listener.filter_chains.extend(_chains(port, FilterChainMatch()))
    if port.protocol is Protocol.UNSUPPORTED:
        _sniff(listener)
    return listener


def _chains(port: InboundPort, match: FilterChainMatch) -> Iterator[FilterChain]:
    name = f"{port.bind}_{port.port}"
    http = port.protocol.is_http
    if http or port.protocol is Protocol.UNSUPPORTED:
        found = FilterChain(name=name, filter_chain_match=match, filters=[inbound_http(f"inbound_{name};", inbound_route(port))])
        if not http:
            found.filter_chain_match.application_protocols.extend(PLAIN_HTTP)
        yield found
    if not http:
        yield FilterChain(name=name, filter_chain_match=match, filters=[tcp(port.cluster, port.cluster)])


def _sniff(listener: Listener) -> None:
    listener.listener_filters.append(http_inspector())
    listener.listener_filters_timeout.CopyFrom(Duration())
    listener.continue_on_listener_filters_timeout = True


def _listener(name: str, bind: str, port: int) -> Listener:
    return Listener(name=name, address=socket_address(bind, port), traffic_direction=TrafficDirection.INBOUND)
