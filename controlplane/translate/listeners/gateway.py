"""Listeners of gateways: for connections from outside of the mesh."""

from __future__ import annotations

from typing import assert_never

from envoy.config.core.v3.base_pb2 import TrafficDirection
from envoy.config.listener.v3.listener_components_pb2 import FilterChain
from envoy.config.listener.v3.listener_pb2 import Listener

from controlplane.ir.gateway import GatewayChain, GatewayListener
from controlplane.ir.listeners import ConnectionSettings, HttpRouting, TcpForwarding
from controlplane.translate.addresses import UNIX, WILDCARD, socket_address
from controlplane.translate.filters.encoded import EncodedFilters
from controlplane.translate.listeners.network_filters import (
    EDGE,
    TerminalFilters,
    complete,
    filter_chain_match,
    named_plainly,
    proxy_protocol,
    tls_inspector,
)
from controlplane.translate.tls.gateway import downstream
from controlplane.translate.tls.mesh import HTTP_OF_PEERS, OTHERS_OF_PEERS


def gateway_listener(gateway: GatewayListener, filters: EncodedFilters, settings: ConnectionSettings) -> Listener:
    """Return the listener of ``gateway``, with ``filters`` on the way; ``settings`` hold for its connections."""
    http, network, terminal = filters.http(gateway.port), filters.network(gateway.port), TerminalFilters(settings)
    listener = Listener(
        name=gateway.name,
        address=socket_address(gateway.bind or WILDCARD, 0 if gateway.bind.startswith(UNIX) else gateway.port),
        traffic_direction=TrafficDirection.OUTBOUND,
    )
    for chain in gateway.chains:
        message = _chain(chain)
        match chain.handling:
            case HttpRouting(route):
                asks = bool(chain.termination and chain.termination.clients)
                prefix = chain.stat_prefix or f"outbound_{gateway.name}"
                manager = terminal.gateway_http(prefix, route, http, gateway.topology, asks=asks)
                message.filters.extend([*filters.before_http(gateway.port), manager])
            case TcpForwarding():
                message.filters.extend([*(() if chain.passes_peers else network), terminal.forwarding(chain.handling)])
            case _:
                assert_never(chain.handling)
        listener.filter_chains.append(message)
    if gateway.topology.proxy_protocol:
        listener.listener_filters.append(proxy_protocol())
    if any(chain.match.server_names for chain in gateway.chains):
        listener.listener_filters.append(tls_inspector())
    return named_plainly(complete(listener, settings, settings.limits.over(EDGE)), settings)


def _chain(chain: GatewayChain) -> FilterChain:
    message = FilterChain(filter_chain_match=filter_chain_match(chain.match))
    if chain.passes_peers:
        message.filter_chain_match.application_protocols.extend((*OTHERS_OF_PEERS, *HTTP_OF_PEERS))
    if chain.termination:
        message.transport_socket.CopyFrom(downstream(chain.termination, http=isinstance(chain.handling, HttpRouting)))
    return message
