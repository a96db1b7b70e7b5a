"""What handles a connection: the HTTP connection manager, the TCP proxy, and what looks at the first bytes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from envoy.config.listener.v3.listener_components_pb2 import Filter, FilterChainMatch, ListenerFilter
from envoy.config.listener.v3.listener_pb2 import Listener
from envoy.config.route.v3.route_pb2 import RouteConfiguration
from envoy.extensions.filters.listener.http_inspector.v3.http_inspector_pb2 import HttpInspector
from envoy.extensions.filters.listener.original_dst.v3.original_dst_pb2 import OriginalDst
from envoy.extensions.filters.listener.original_src.v3.original_src_pb2 import OriginalSrc
from envoy.extensions.filters.listener.proxy_protocol.v3.proxy_protocol_pb2 import ProxyProtocol
from envoy.extensions.filters.listener.tls_inspector.v3.tls_inspector_pb2 import TlsInspector
from envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2 import HttpConnectionManager, HttpFilter
from envoy.extensions.filters.network.tcp_proxy.v3.tcp_proxy_pb2 import TcpProxy
from google.protobuf.duration_pb2 import Duration

from controlplane.envoy.packing import pack
from controlplane.ir.extensions.chains import ChainExtension, on_port
from controlplane.ir.gateway import ForwardedCertificate, Topology
from controlplane.ir.listeners import (
    EVERY_CONNECTION,
    NO_LIMITS,
    ChainMatch,
    ConnectionLimits,
    ConnectionSettings,
    HttpRouting,
    TcpForwarding,
    TcpLimits,
)
from controlplane.ir.telemetry.metrics import ServiceNames
from controlplane.model.mesh import PathNormalization
from controlplane.model.proxies import TPROXY_MARK
from controlplane.translate.addresses import ads, block, endpoint_at, milliseconds
from controlplane.translate.filters.base import Chain
from controlplane.translate.filters.chosen_address import note_address
from controlplane.translate.filters.network import extension_filters
from controlplane.translate.filters.order import filters_of
from controlplane.translate.telemetry.access_logs import of_connections, of_refused_connections, of_requests
from controlplane.translate.telemetry.metrics import Counting, count_connections, http_loggers
from controlplane.translate.telemetry.plain_names import namespace_module
from controlplane.translate.telemetry.tracing import trace

HTTP_MANAGER = "envoy.filters.network.http_connection_manager"
TCP_PROXY = "envoy.filters.network.tcp_proxy"
# https://www.envoyproxy.io/docs/envoy/latest/configuration/best_practices/edge
EDGE = ConnectionLimits(
    buffer_bytes=32 * 1024,
    max_concurrent_streams=100,
    stream_window_bytes=64 * 1024,
    connection_window_bytes=1024 * 1024,
    headers_timeout_ms=10_000,
)
_FORWARDED = {
    ForwardedCertificate.SANITIZE: HttpConnectionManager.SANITIZE,
    ForwardedCertificate.FORWARD_ONLY: HttpConnectionManager.FORWARD_ONLY,
    ForwardedCertificate.APPEND_FORWARD: HttpConnectionManager.APPEND_FORWARD,
    ForwardedCertificate.SANITIZE_SET: HttpConnectionManager.SANITIZE_SET,
    ForwardedCertificate.ALWAYS_FORWARD_ONLY: HttpConnectionManager.ALWAYS_FORWARD_ONLY,
}
PLAIN_HTTP = ("http/1.1", "h2c")  # what the HTTP inspector calls them


@dataclass(frozen=True, slots=True)
class TerminalFilters:
    """The filters that end a chain, by ``settings``: what routes requests, and what sends whole connections on.

    Outbound, ``extensions`` are passed by what goes to ``port``, ``None`` where that is not one in particular.
    """

    settings: ConnectionSettings
    extensions: tuple[ChainExtension, ...] = ()
    port: int | None = None

    def network_extensions(self) -> list[Filter]:
        """Return those of the extensions that see connections."""
        return extension_filters(on_port(self.extensions, self.port))

    def outbound_http(self, stat_prefix: str, routing: HttpRouting) -> Filter:
        """Return what routes requests from the workload as ``routing`` says."""
        manager = self._manager(stat_prefix, self._outbound_filters(routing))
        manager.rds.config_source.CopyFrom(ads())
        manager.rds.route_config_name = routing.route
        if routing.by_address:
            manager.early_header_mutation_extensions.append(note_address())
        manager.use_remote_address.value = True
        manager.skip_xff_append = True
        manager.access_log.extend(http_loggers(self._outbound()))
        return Filter(name=HTTP_MANAGER, typed_config=pack(manager))

    def _outbound_filters(self, routing: HttpRouting) -> list[HttpFilter]:
        return filters_of(Chain(inbound=False, extensions=on_port(self.extensions, self.port), by_address=routing.by_address))

    def gateway_http(
        self,
        stat_prefix: str,
        route_name: str,
        filters: Sequence[HttpFilter],
        topology: Topology,
        *,
        asks: bool,
    ) -> Filter:
        """Return what routes requests from outside of the mesh by the RouteConfiguration ``route_name``, past ``filters``.

        Nothing that a client says of itself is believed, neither who it is nor where it comes from, unless ``topology`` says so. ``asks``:
        it is asked for a certificate, and the application is told that. Limits that nobody has set are Envoy's advice for its edge.
        """
        manager = self._manager(stat_prefix, filters, self.settings.limits.over(EDGE))
        manager.rds.config_source.CopyFrom(ads())
        manager.rds.route_config_name = route_name
        manager.use_remote_address.value = True
        manager.xff_num_trusted_hops = topology.trusted_proxies
        default = HttpConnectionManager.SANITIZE_SET if asks else HttpConnectionManager.SANITIZE
        manager.forward_client_cert_details = _FORWARDED.get(topology.client_certificate, default)
        if asks:
            manager.set_current_client_cert_details.subject.value = True
            manager.set_current_client_cert_details.cert = True
            manager.set_current_client_cert_details.dns = True
            manager.set_current_client_cert_details.uri = True
        manager.access_log.extend(http_loggers(self._outbound()))
        return Filter(name=HTTP_MANAGER, typed_config=pack(manager))

    def inbound_http(
        self, stat_prefix: str, routes: RouteConfiguration, filters: Sequence[HttpFilter], counting: Counting | None, *, shown: bool
    ) -> Filter:
        """Return what routes requests to the workload by ``routes`` once they have passed ``filters``, and counts them by ``counting``.

        ``shown``: the workload is told the certificate that the peer has shown.
        """
        manager = self._manager(stat_prefix, filters)
        manager.route_config.CopyFrom(routes)
        manager.use_remote_address.value = False
        manager.server_header_transformation = HttpConnectionManager.PASS_THROUGH
        if shown:
            manager.forward_client_cert_details = HttpConnectionManager.APPEND_FORWARD
            manager.set_current_client_cert_details.subject.value = True
            manager.set_current_client_cert_details.uri = True
        manager.access_log.extend(http_loggers(counting))
        return Filter(name=HTTP_MANAGER, typed_config=pack(manager))

    def tcp(self, stat_prefix: str, cluster: str, limits: TcpLimits = NO_LIMITS, counting: Counting | None = None) -> Filter:
        """Return what sends whole connections to ``cluster``, within ``limits``, and counts them by ``counting``."""
        return self._tcp_proxy(TcpProxy(stat_prefix=stat_prefix, cluster=cluster), limits, counting)

    def outbound_tcp(self, cluster: str) -> Filter:
        """Return what sends whole connections from the workload to ``cluster``."""
        return self.tcp(cluster, cluster, counting=self._outbound())

    def forwarding(self, forwarding: TcpForwarding) -> Filter:
        """Return what sends whole connections on as ``forwarding`` says."""
        clusters = forwarding.clusters
        first = clusters[0][0]
        proxy = TcpProxy(stat_prefix=first)
        if len(clusters) == 1:
            proxy.cluster = first
        else:
            proxy.weighted_clusters.clusters.extend(
                TcpProxy.WeightedCluster.ClusterWeight(name=cluster, weight=weight) for cluster, weight in clusters
            )
        if forwarding.endpoint:
            proxy.metadata_match.CopyFrom(endpoint_at(forwarding.endpoint))
        return self._tcp_proxy(proxy, forwarding.limits, self._outbound())

    def inbound_counting(self, service: ServiceNames, *, mutual: bool) -> Counting | None:
        """Return how is counted what comes to the workload for ``service``, by mutual TLS or not."""
        counted = self.settings.telemetry.metrics
        return Counting(counted, inbound=True, mutual=mutual, service=service) if counted else None

    def _outbound(self) -> Counting | None:
        counted = self.settings.telemetry.metrics
        return Counting(counted, inbound=False) if counted else None

    def _tcp_proxy(self, proxy: TcpProxy, limits: TcpLimits, counting: Counting | None) -> Filter:
        if limits.idle_timeout_ms is not None:
            proxy.idle_timeout.CopyFrom(milliseconds(limits.idle_timeout_ms))
        if limits.max_duration_ms is not None:
            proxy.max_downstream_connection_duration.CopyFrom(milliseconds(limits.max_duration_ms))
        if limits.hash_by_source:
            proxy.hash_policy.add().source_ip.SetInParent()
        proxy.access_log.extend(of_connections(self.settings.telemetry))
        count_connections(proxy, counting)
        return Filter(name=TCP_PROXY, typed_config=pack(proxy))

    def _manager(self, stat_prefix: str, filters: Sequence[HttpFilter], limits: ConnectionLimits | None = None) -> HttpConnectionManager:
        paths = self.settings.paths
        manager = HttpConnectionManager(
            stat_prefix=stat_prefix,
            http_filters=filters,
            upgrade_configs=[{"upgrade_type": "websocket"}],
            # A WebSocket that comes by HTTP/2 is an extended CONNECT (RFC 8441).
            http2_protocol_options={"allow_connect": True},
            stream_idle_timeout=Duration(),
            normalize_path={"value": paths is not PathNormalization.NONE},
            merge_slashes=paths in (PathNormalization.MERGE_SLASHES, PathNormalization.DECODE_AND_MERGE_SLASHES),
            access_log=of_requests(self.settings.telemetry),
        )
        if paths is PathNormalization.DECODE_AND_MERGE_SLASHES:
            manager.path_with_escaped_slashes_action = HttpConnectionManager.UNESCAPE_AND_FORWARD
        _limit(manager, limits or self.settings.limits)
        trace(manager, self.settings.telemetry.tracing, at_gateway=limits is not None)
        return manager


def filter_chain_match(match: ChainMatch) -> FilterChainMatch | None:
    """Return which connections ``match`` is about; ``None`` where it is all."""
    if match == EVERY_CONNECTION:
        return None
    return FilterChainMatch(server_names=match.server_names, prefix_ranges=[block(subnet) for subnet in match.subnets])


def complete(listener: Listener, settings: ConnectionSettings, limits: ConnectionLimits | None = None) -> Listener:
    """Return ``listener`` with what ``settings`` say of listeners; ``limits`` are others than theirs."""
    buffer_bytes = (limits or settings.limits).buffer_bytes
    if buffer_bytes is not None:
        listener.per_connection_buffer_limit_bytes.value = buffer_bytes
    listener.access_log.extend(of_refused_connections(settings.telemetry))
    return listener


def named_plainly(listener: Listener, settings: ConnectionSettings) -> Listener:
    """Return ``listener``, which has Envoy call what it counts by ``settings`` as Istio does, if that is asked for."""
    metrics = settings.telemetry.metrics
    if metrics and metrics.plain_names:
        listener.access_log.append(namespace_module())
    return listener


def inspect(listener: Listener, inspectors: Iterable[ListenerFilter], settings: ConnectionSettings) -> None:
    """Have ``inspectors`` look at the first bytes that come to ``listener``, and wait for them as long as ``settings`` say."""
    needed = list(inspectors)
    if needed:
        listener.listener_filters.extend(needed)
        listener.listener_filters_timeout.CopyFrom(milliseconds(settings.detection_timeout_ms))
        listener.continue_on_listener_filters_timeout = True


def _limit(manager: HttpConnectionManager, limits: ConnectionLimits) -> None:
    for message, name, limit in (
        (manager, "max_request_headers_kb", limits.max_request_headers_kb),
        (manager.http2_protocol_options, "max_concurrent_streams", limits.max_concurrent_streams),
        (manager.http2_protocol_options, "initial_stream_window_size", limits.stream_window_bytes),
        (manager.http2_protocol_options, "initial_connection_window_size", limits.connection_window_bytes),
    ):
        if limit is not None:
            getattr(message, name).value = limit
    if limits.headers_timeout_ms is not None:
        manager.request_headers_timeout.CopyFrom(milliseconds(limits.headers_timeout_ms))


def original_source() -> ListenerFilter:
    """Return what has connections to the application come from where the one to the proxy came from: iptables know them by the mark."""
    return ListenerFilter(name="envoy.filters.listener.original_src", typed_config=pack(OriginalSrc(mark=TPROXY_MARK)))


def http_inspector() -> ListenerFilter:
    """Return what tells HTTP from other protocols by the first bytes."""
    return ListenerFilter(name="envoy.filters.listener.http_inspector", typed_config=pack(HttpInspector()))


def tls_inspector() -> ListenerFilter:
    """Return what reads the server name and the protocols of a TLS handshake."""
    return ListenerFilter(name="envoy.filters.listener.tls_inspector", typed_config=pack(TlsInspector()))


def proxy_protocol() -> ListenerFilter:
    """Return what reads the PROXY protocol, by which a load balancer says who has come to it."""
    return ListenerFilter(name="envoy.filters.listener.proxy_protocol", typed_config=pack(ProxyProtocol()))


def original_destination() -> ListenerFilter:
    """Return what reads where a connection was going before iptables sent it here."""
    return ListenerFilter(name="envoy.filters.listener.original_dst", typed_config=pack(OriginalDst()))
