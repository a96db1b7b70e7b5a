"""What a DestinationRule's traffic policy makes of a cluster: load balancer, connection pool, outlier detection."""

from __future__ import annotations

from envoy.config.cluster.v3.circuit_breaker_pb2 import CircuitBreakers
from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.config.cluster.v3.outlier_detection_pb2 import OutlierDetection
from envoy.config.core.v3.protocol_pb2 import Http2ProtocolOptions
from envoy.extensions.upstreams.http.v3.http_protocol_options_pb2 import HttpProtocolOptions

from controlplane.envoy.packing import pack
from controlplane.model.protocols import Protocol
from controlplane.objects.networking import destination_rule as rule
from controlplane.translate.common import milliseconds

HTTP_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
_MOST = 2**32 - 1
_MIN_RING = 1024
_SIMPLE = {
    "ROUND_ROBIN": Cluster.ROUND_ROBIN,
    "RANDOM": Cluster.RANDOM,
    "LEAST_CONN": Cluster.LEAST_REQUEST,
    "LEAST_REQUEST": Cluster.LEAST_REQUEST,
    "UNSPECIFIED": Cluster.LEAST_REQUEST,
}


def unlimited() -> CircuitBreakers.Thresholds:
    """Return thresholds that never trip."""
    most = {"value": _MOST}
    return CircuitBreakers.Thresholds(
        max_connections=most, max_pending_requests=most, max_requests=most, max_retries=most, track_remaining=True
    )


def apply_policy(cluster: Cluster, policy: rule.TrafficPolicy | None, protocol: Protocol) -> None:
    """Put ``policy`` for a port that carries ``protocol`` on ``cluster``."""
    pool = policy.connection_pool if policy else None
    http = pool.http if pool and pool.http else rule.HTTPSettings()
    if pool:
        _limits(cluster, pool.tcp or rule.TCPSettings(), http)
    _http_options(cluster, pool.tcp if pool else None, http, protocol)
    if policy and policy.load_balancer:
        _load_balancer(cluster, policy.load_balancer)
    if policy and policy.outlier_detection:
        _outliers(cluster, policy.outlier_detection)


def _limits(cluster: Cluster, tcp: rule.TCPSettings, http: rule.HTTPSettings) -> None:
    thresholds = cluster.circuit_breakers.thresholds[0]
    for name, value in (
        ("max_connections", tcp.max_connections),
        ("max_pending_requests", http.http1_max_pending_requests),
        ("max_requests", http.http2_max_requests),
        ("max_retries", http.max_retries),
    ):
        if value:
            getattr(thresholds, name).value = value
    if tcp.connect_timeout:
        cluster.connect_timeout.CopyFrom(milliseconds(tcp.connect_timeout))
    if tcp.tcp_keepalive:
        keepalive = cluster.upstream_connection_options.tcp_keepalive
        keepalive.SetInParent()
        if tcp.tcp_keepalive.probes:
            keepalive.keepalive_probes.value = tcp.tcp_keepalive.probes
        if tcp.tcp_keepalive.time:
            keepalive.keepalive_time.value = max(1, tcp.tcp_keepalive.time // 1000)  # Linux refuses 0
        if tcp.tcp_keepalive.interval:
            keepalive.keepalive_interval.value = max(1, tcp.tcp_keepalive.interval // 1000)


def _http_options(cluster: Cluster, tcp: rule.TCPSettings | None, http: rule.HTTPSettings, protocol: Protocol) -> None:
    options = HttpProtocolOptions()
    common = options.common_http_protocol_options
    if http.idle_timeout:
        common.idle_timeout.CopyFrom(milliseconds(http.idle_timeout))
    if http.max_requests_per_connection:
        common.max_requests_per_connection.value = http.max_requests_per_connection
    if tcp and tcp.max_connection_duration:
        common.max_connection_duration.CopyFrom(milliseconds(tcp.max_connection_duration))
    http2 = Http2ProtocolOptions()
    if http.max_concurrent_streams:
        http2.max_concurrent_streams.value = http.max_concurrent_streams
    if http.http2_keep_alive and http.http2_keep_alive.interval:
        http2.connection_keepalive.interval.CopyFrom(milliseconds(http.http2_keep_alive.interval))
        http2.connection_keepalive.timeout.CopyFrom(milliseconds(http.http2_keep_alive.timeout or http.http2_keep_alive.interval))
    upgraded = http.h2_upgrade_policy == "UPGRADE" and protocol is Protocol.HTTP
    if http.use_client_protocol or protocol is Protocol.UNSUPPORTED:
        options.use_downstream_protocol_config.http_protocol_options.SetInParent()
        options.use_downstream_protocol_config.http2_protocol_options.CopyFrom(http2)
    elif protocol.is_http2 or upgraded:
        options.explicit_http_config.http2_protocol_options.CopyFrom(http2)
    elif common.ByteSize():
        options.explicit_http_config.http_protocol_options.SetInParent()
    else:
        return  # HTTP/1.1 with Envoy's defaults, or no HTTP at all
    cluster.typed_extension_protocol_options[HTTP_OPTIONS].CopyFrom(pack(options))


def _load_balancer(cluster: Cluster, balancer: rule.LoadBalancerSettings) -> None:
    if balancer.simple == "PASSTHROUGH":
        cluster.type = Cluster.ORIGINAL_DST
        cluster.lb_policy = Cluster.CLUSTER_PROVIDED
        cluster.ClearField("eds_cluster_config")
        cluster.ClearField("load_assignment")
    elif cluster.lb_policy == Cluster.CLUSTER_PROVIDED:
        return
    elif balancer.consistent_hash:
        _hash(cluster, balancer.consistent_hash)
    elif balancer.simple:
        cluster.lb_policy = _SIMPLE[balancer.simple]


def _hash(cluster: Cluster, policy: rule.ConsistentHashLB) -> None:
    if policy.maglev:
        cluster.lb_policy = Cluster.MAGLEV
        if policy.maglev.table_size:
            cluster.maglev_lb_config.table_size.value = policy.maglev.table_size
        return
    cluster.lb_policy = Cluster.RING_HASH
    size = policy.ring_hash.minimum_ring_size if policy.ring_hash else policy.minimum_ring_size
    cluster.ring_hash_lb_config.minimum_ring_size.value = size or _MIN_RING


def _outliers(cluster: Cluster, given: rule.OutlierDetection) -> None:
    outliers = OutlierDetection(enforcing_success_rate={"value": 0})
    for name, enforcing, value in (
        ("consecutive_5xx", "enforcing_consecutive_5xx", given.consecutive5xx_errors),
        ("consecutive_gateway_failure", "enforcing_consecutive_gateway_failure", given.consecutive_gateway_errors),
        ("consecutive_local_origin_failure", "enforcing_consecutive_local_origin_failure", given.consecutive_local_origin_failures),
    ):
        if value is not None:
            getattr(outliers, name).value = value
            getattr(outliers, enforcing).value = 100 if value else 0
    if given.split_external_local_origin_errors:
        outliers.split_external_local_origin_errors = True
        outliers.enforcing_local_origin_success_rate.value = 0
    for name, duration in (("interval", given.interval), ("base_ejection_time", given.base_ejection_time)):
        if duration:
            getattr(outliers, name).CopyFrom(milliseconds(duration))
    if given.max_ejection_percent:
        outliers.max_ejection_percent.value = given.max_ejection_percent
    cluster.outlier_detection.CopyFrom(outliers)
    cluster.common_lb_config.healthy_panic_threshold.value = given.min_health_percent
