"""Listeners for connections to the workload."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple, assert_never

from envoy.config.core.v3.base_pb2 import TrafficDirection
from envoy.config.listener.v3.listener_components_pb2 import Filter, FilterChain, FilterChainMatch, ListenerFilter
from envoy.config.listener.v3.listener_pb2 import Listener
from envoy.config.route.v3.route_pb2 import RouteConfiguration
from envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2 import HttpFilter

from controlplane.ir.listeners import NO_LIMITS, ConnectionSettings, InboundPort, OtherPorts, PortPolicy, ServedPort, TcpLimits
from controlplane.ir.telemetry.metrics import ServiceNames
from controlplane.ir.tls import Termination
from controlplane.model.peer_authentication import MutualTLSMode
from controlplane.model.protocols import Protocol
from controlplane.model.proxies import IpFamilies
from controlplane.model.telemetry.workloads import UNKNOWN
from controlplane.translate.addresses import listening, wildcard
from controlplane.translate.clusters.clusters import BLACK_HOLE, INBOUND_PASSTHROUGH
from controlplane.translate.filters.encoded import EncodedFilters
from controlplane.translate.listeners.network_filters import (
    PLAIN_HTTP,
    TerminalFilters,
    complete,
    http_inspector,
    inspect,
    named_plainly,
    original_destination,
    original_source,
    tls_inspector,
)
from controlplane.translate.routes.virtual_hosts import inbound_route, pass_through_route
from controlplane.translate.telemetry.peer import peer_filter
from controlplane.translate.tls import gateway as server_tls
from controlplane.translate.tls import mesh as mesh_tls
from controlplane.translate.tls.mesh import HTTP_OF_PEERS, OTHERS_OF_PEERS

VIRTUAL_INBOUND = "virtualInbound"
_NO_SERVICE = ServiceNames(UNKNOWN, INBOUND_PASSTHROUGH, UNKNOWN)  # connections to a port that none names
_ALL_OF_PEERS = (*HTTP_OF_PEERS, *OTHERS_OF_PEERS)
_TLS, _RAW = "tls", "raw_buffer"  # as Envoy's matches name them


class _ConnectionKind(NamedTuple):
    """One kind of connection to a port: what it is matched by, and what it is taken for."""

    transport: str
    announced: tuple[str, ...]
    http: bool
    mutual: bool
    outside: bool = False  # its TLS is the one that the port's own settings terminate


class _ChainSpec(NamedTuple):
    """What becomes of connections: how chains are called, where requests and other bytes go, and for which service they are counted."""

    http_name: str
    name: str
    cluster: str
    stat_prefix: str
    routes: RouteConfiguration
    service: ServiceNames
    limits: TcpLimits = NO_LIMITS
    termination: Termination | None = None
    port: int | None = None  # that connections come to; None: any


class _PassedFilters(NamedTuple):
    """What has to be passed on the way, by requests and by connections, those of requests too."""

    http: list[HttpFilter]
    network: list[Filter]
    before_http: list[Filter]


class _EncodedChain:
    """What has to be passed on the way, by ports, of which nearly all are alike, and what it leads to, the same in every chain."""

    def __init__(self, filters: EncodedFilters, settings: ConnectionSettings) -> None:
        self.terminal = TerminalFilters(settings)
        self._filters = filters
        self._by_port: dict[int | None, _PassedFilters] = {}

    def on(self, port: int | None) -> _PassedFilters:
        """Return what connections to ``port`` have to pass."""
        relevant = self._filters.relevant(port)
        found = self._by_port.get(relevant)
        if found is None:
            filters = self._filters
            found = _PassedFilters(filters.http(relevant), filters.network(relevant), filters.before_http(relevant))
            self._by_port[relevant] = found
        return found


def virtual_inbound(
    number: int,
    ports: tuple[ServedPort, ...],
    others: OtherPorts,
    filters: EncodedFilters,
    settings: ConnectionSettings,
    families: IpFamilies = IpFamilies.V4,
    *,
    transparent: bool = False,
) -> Listener:
    """Return the listener that iptables send every inbound connection of ``families`` to, with chains for each of ``ports``, and others.

    ``filters`` stand on the way to each of them, ``settings`` hold for all connections.
    ``transparent``: they come as they are (TPROXY), and go on so, from the client's address.

    There is no default chain: a connection that a port's own chains refuse would be let in by it.
    """
    encoded = _EncodedChain(filters, settings)
    listener = listening(VIRTUAL_INBOUND, wildcard(families), number, TrafficDirection.INBOUND)
    listener.filter_chains.append(_to_itself(number, encoded.terminal))
    for served in (served for served in ports if served.port.port != number):  # connections to it lead nowhere, whoever names it
        match = FilterChainMatch(destination_port={"value": served.port.port})
        listener.filter_chains.extend(_chains(_spec(served.port), served.port.protocol, match, served.policy, encoded))
    catch_all = _ChainSpec(
        "virtualInbound-catchall-http", VIRTUAL_INBOUND, INBOUND_PASSTHROUGH, INBOUND_PASSTHROUGH, pass_through_route(), _NO_SERVICE
    )
    for other, policy in others.by_port:
        if other == number:
            continue
        match = FilterChainMatch(destination_port={"value": other})
        listener.filter_chains.extend(_chains(catch_all._replace(port=other), Protocol.UNSUPPORTED, match, policy, encoded))
    listener.filter_chains.extend(_chains(catch_all, Protocol.UNSUPPORTED, FilterChainMatch(), others.policy, encoded))
    listener.listener_filters.append(original_destination())
    if transparent:
        listener.transparent.value = True
        listener.listener_filters.append(original_source())
    inspect(listener, _inspectors(listener.filter_chains), settings)
    return named_plainly(complete(listener, settings), settings)


def inbound_listener(served: ServedPort, filters: EncodedFilters, settings: ConnectionSettings) -> Listener:
    """Return the listener that binds a port itself, where no iptables are, with ``filters`` on the way, by ``settings``."""
    port = served.port
    listener = listening(f"{port.bind}_{port.port}", (port.bind,), port.port, TrafficDirection.INBOUND)
    listener.filter_chains.extend(_chains(_spec(port), port.protocol, FilterChainMatch(), served.policy, _EncodedChain(filters, settings)))
    inspect(listener, _inspectors(listener.filter_chains), settings)
    return named_plainly(complete(listener, settings), settings)


def _to_itself(number: int, terminal: TerminalFilters) -> FilterChain:
    """Return the chain for connections to the listener's own port: they would come back to it without end."""
    match = FilterChainMatch(destination_port={"value": number})
    return FilterChain(name="virtualInbound-blackhole", filter_chain_match=match, filters=[terminal.tcp(BLACK_HOLE, BLACK_HOLE)])


def _spec(port: InboundPort) -> _ChainSpec:
    name = f"{port.bind}_{port.port}"
    service = ServiceNames(port.service.host, port.service.name, port.service.namespace) if port.service else _NO_SERVICE
    route = inbound_route(port)
    return _ChainSpec(name, name, port.cluster, f"inbound_{name};", route, service, port.limits, port.termination, port.port)


def _chains(
    spec: _ChainSpec, protocol: Protocol, match: FilterChainMatch, policy: PortPolicy, encoded: _EncodedChain
) -> Iterator[FilterChain]:
    mode = policy.mode if policy.peer else MutualTLSMode.DISABLE
    kinds = _terminated_kinds(protocol, mode) if spec.termination else _kinds(protocol, mode)
    if policy.peer is None and policy.mode is MutualTLSMode.STRICT:
        # Who has no certificate cannot take part in mutual TLS, and nothing else is to be let in.
        yield FilterChain(name=spec.name, filter_chain_match=match, filters=[encoded.terminal.tcp(BLACK_HOLE, BLACK_HOLE)])
        return
    for kind in kinds:
        chain = FilterChain(
            name=spec.http_name if kind.http else spec.name, filter_chain_match=match, filters=_filters(spec, kind, encoded)
        )
        chain.filter_chain_match.transport_protocol = kind.transport
        chain.filter_chain_match.application_protocols.extend(kind.announced)
        if kind.mutual and policy.peer:
            chain.transport_socket.CopyFrom(mesh_tls.downstream(policy.peer, http=kind.http))
        elif kind.outside and spec.termination:
            chain.transport_socket.CopyFrom(server_tls.downstream(spec.termination, http=kind.http))
        yield chain


def _filters(spec: _ChainSpec, kind: _ConnectionKind, encoded: _EncodedChain) -> list[Filter]:
    counting = encoded.terminal.inbound_counting(spec.service, mutual=kind.mutual)
    noting = [peer_filter()] if counting and counting.mutual else []
    passed = encoded.on(spec.port)
    if kind.http:
        shown = kind.mutual or bool(kind.outside and spec.termination and spec.termination.clients)
        manager = encoded.terminal.inbound_http(spec.stat_prefix, spec.routes, passed.http, counting, shown=shown)
        return [*noting, *passed.before_http, manager]
    return [*noting, *passed.network, encoded.terminal.tcp(spec.cluster, spec.cluster, spec.limits, counting)]


def _kinds(protocol: Protocol, mode: MutualTLSMode) -> Iterable[_ConnectionKind]:
    """Return the kinds of connections that are taken in ``mode``, told apart by what clients announce.

    The sets are Istio's, so that its own proxies are understood too.
    """
    http, sniffed = protocol.is_http, protocol is Protocol.UNSUPPORTED
    match mode:
        case MutualTLSMode.DISABLE if sniffed:
            return (_ConnectionKind("", PLAIN_HTTP, http=True, mutual=False), _ConnectionKind("", (), http=False, mutual=False))
        case MutualTLSMode.DISABLE:
            return (_ConnectionKind("", (), http, mutual=False),)
        case MutualTLSMode.STRICT if sniffed:
            return (_ConnectionKind(_TLS, HTTP_OF_PEERS, http=True, mutual=True), _ConnectionKind(_TLS, (), http=False, mutual=True))
        case MutualTLSMode.STRICT:
            return (_ConnectionKind(_TLS, (), http, mutual=True),)
        case MutualTLSMode.PERMISSIVE if sniffed:
            return (
                _ConnectionKind(_TLS, HTTP_OF_PEERS, http=True, mutual=True),
                _ConnectionKind(_RAW, PLAIN_HTTP, http=True, mutual=False),
                _ConnectionKind(_TLS, OTHERS_OF_PEERS, http=False, mutual=True),
                _ConnectionKind(_RAW, (), http=False, mutual=False),
                _ConnectionKind(_TLS, (), http=False, mutual=False),
            )
        case MutualTLSMode.PERMISSIVE if http:
            return (_ConnectionKind(_TLS, _ALL_OF_PEERS, http=True, mutual=True), _ConnectionKind(_RAW, (), http=True, mutual=False))
        case MutualTLSMode.PERMISSIVE:
            return (
                _ConnectionKind(_TLS, _ALL_OF_PEERS, http=False, mutual=True),
                _ConnectionKind(_RAW, (), http=False, mutual=False),
                _ConnectionKind(_TLS, (), http=False, mutual=False),
            )
        case _:
            assert_never(mode)


def _terminated_kinds(protocol: Protocol, mode: MutualTLSMode) -> Iterable[_ConnectionKind]:
    """Return the kinds of connections to a port with TLS of its own: peers of the mesh, and others by that TLS.

    In strict ``mode`` there are no others.
    """
    if mode is MutualTLSMode.STRICT:
        return _kinds(protocol, mode)
    peers = (_ConnectionKind(_TLS, _ALL_OF_PEERS, protocol.is_http, mutual=True),) if mode is MutualTLSMode.PERMISSIVE else ()
    return (*peers, _ConnectionKind(_TLS, (), protocol.is_http, mutual=False, outside=True))


def _inspectors(chains: Iterable[FilterChain]) -> Iterator[ListenerFilter]:
    """Yield what looks at the first bytes as far as the match of some of ``chains`` depends on them."""
    matches = [chain.filter_chain_match for chain in chains]
    if any(match.transport_protocol for match in matches):
        yield tls_inspector()
    if any(set(PLAIN_HTTP) & set(match.application_protocols) for match in matches):
        yield http_inspector()
