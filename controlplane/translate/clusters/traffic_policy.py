"""What a policy makes of a cluster: load balancer, connection pool, outlier detection."""

from __future__ import annotations

from typing import assert_never

from envoy.config.cluster.v3.circuit_breaker_pb2 import CircuitBreakers
from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.config.cluster.v3.outlier_detection_pb2 import OutlierDetection
from envoy.config.core.v3.protocol_pb2 import Http2ProtocolOptions
from envoy.extensions.upstreams.http.v3.http_protocol_options_pb2 import HttpProtocolOptions

from controlplane.envoy.packing import pack
from controlplane.ir.clusters import (
    Algorithm,
    ClusterPolicy,
    ConnectionPool,
    ConsistentHash,
    KeepAlive,
    LoadBalancing,
    MaglevTable,
    OriginalDestination,
    OutlierEjection,
    RingTable,
)
from controlplane.model.protocols import Protocol
from controlplane.translate.addresses import milliseconds

HTTP_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
_MOST = 2**32 - 1
_MIN_RING = 1024  # Istio's
_ALGORITHMS = {
    Algorithm.ROUND_ROBIN: Cluster.ROUND_ROBIN,
    Algorithm.RANDOM: Cluster.RANDOM,
    Algorithm.LEAST_REQUEST: Cluster.LEAST_REQUEST,
}


def unlimited() -> CircuitBreakers.Thresholds:
    """Return thresholds that never trip."""
    most = {"value": _MOST}
    return CircuitBreakers.Thresholds(
        max_connections=most, max_pending_requests=most, max_requests=most, max_retries=most, track_remaining=True
    )


def apply_policy(cluster: Cluster, policy: ClusterPolicy, protocol: Protocol) -> None:
    """Put ``policy`` for a port that carries ``protocol`` on ``cluster``."""
    _limits(cluster, policy.pool)
    _http_options(cluster, policy.pool, protocol)
    if policy.load_balancing:
        _load_balancer(cluster, policy.load_balancing)
    if policy.outliers:
        _outliers(cluster, policy.outliers)


def _limits(cluster: Cluster, pool: ConnectionPool) -> None:
    thresholds = cluster.circuit_breakers.thresholds[0]
    for name, limit in (
        ("max_connections", pool.max_connections),
        ("max_pending_requests", pool.max_pending_requests),
        ("max_requests", pool.max_requests),
        ("max_retries", pool.max_retries),
    ):
        if limit:
            getattr(thresholds, name).value = limit
    if pool.connect_timeout_ms:
        cluster.connect_timeout.CopyFrom(milliseconds(pool.connect_timeout_ms))
    if pool.keep_alive:
        _keep_alive(cluster, pool.keep_alive)


def _keep_alive(cluster: Cluster, settings: KeepAlive) -> None:
    keepalive = cluster.upstream_connection_options.tcp_keepalive
    keepalive.SetInParent()
    if settings.probes:
        keepalive.keepalive_probes.value = settings.probes
    if settings.after_ms:
        keepalive.keepalive_time.value = max(1, settings.after_ms // 1000)  # Linux refuses 0
    if settings.interval_ms:
        keepalive.keepalive_interval.value = max(1, settings.interval_ms // 1000)


def _http_options(cluster: Cluster, pool: ConnectionPool, protocol: Protocol) -> None:
    options = HttpProtocolOptions()
    common = options.common_http_protocol_options
    idle_timeout_ms = pool.idle_timeout_ms or pool.tcp_idle_timeout_ms
    if idle_timeout_ms is not None:
        common.idle_timeout.CopyFrom(milliseconds(idle_timeout_ms))
    if pool.max_requests_per_connection:
        common.max_requests_per_connection.value = pool.max_requests_per_connection
    if pool.max_connection_duration_ms:
        common.max_connection_duration.CopyFrom(milliseconds(pool.max_connection_duration_ms))
    if speaks_http2(pool, protocol):
        options.explicit_http_config.http2_protocol_options.CopyFrom(_http2(pool))
    elif pool.use_client_protocol or protocol is Protocol.UNSUPPORTED:
        options.use_downstream_protocol_config.http_protocol_options.SetInParent()
        options.use_downstream_protocol_config.http2_protocol_options.CopyFrom(_http2(pool))
    elif common.ByteSize():
        options.explicit_http_config.http_protocol_options.SetInParent()
    else:
        return  # HTTP/1.1 with Envoy's defaults, or no HTTP at all
    cluster.typed_extension_protocol_options[HTTP_OPTIONS].CopyFrom(pack(options))


def speaks_http2(pool: ConnectionPool, protocol: Protocol) -> bool:
    """Return whether requests to a port that carries ``protocol`` go on as HTTP/2, whatever they came as.

    Whoever asks for that on a port without a declared protocol says that it is HTTP.
    """
    upgraded = bool(pool.upgrade) and protocol in (Protocol.HTTP, Protocol.UNSUPPORTED)
    return not pool.use_client_protocol and (protocol.is_http2 or upgraded)


def _http2(pool: ConnectionPool) -> Http2ProtocolOptions:
    http2 = Http2ProtocolOptions()
    if pool.max_concurrent_streams:
        http2.max_concurrent_streams.value = pool.max_concurrent_streams
    if pool.ping:
        http2.connection_keepalive.interval.CopyFrom(milliseconds(pool.ping.interval_ms))
        http2.connection_keepalive.timeout.CopyFrom(milliseconds(pool.ping.timeout_ms))
    return http2


def _load_balancer(cluster: Cluster, balancing: LoadBalancing) -> None:
    match balancing:
        case OriginalDestination() if cluster.HasField("lb_subset_config"):
            pass  # where clients choose an endpoint, a connection goes to where it was going
        case OriginalDestination():
            cluster.type = Cluster.ORIGINAL_DST
            cluster.lb_policy = Cluster.CLUSTER_PROVIDED
            cluster.ClearField("eds_cluster_config")
            cluster.ClearField("load_assignment")
        case _ if cluster.lb_policy == Cluster.CLUSTER_PROVIDED:
            pass  # connections go where they were going: nothing is chosen
        case ConsistentHash(table=table):
            _hash(cluster, table)
        case Algorithm():
            cluster.lb_policy = _ALGORITHMS[balancing]
        case _:
            assert_never(balancing)


def _hash(cluster: Cluster, table: RingTable | MaglevTable) -> None:
    match table:
        case MaglevTable(size):
            cluster.lb_policy = Cluster.MAGLEV
            if size:
                cluster.maglev_lb_config.table_size.value = size
        case RingTable(minimum_size):
            cluster.lb_policy = Cluster.RING_HASH
            cluster.ring_hash_lb_config.minimum_ring_size.value = minimum_size or _MIN_RING
        case _:
            assert_never(table)


def _outliers(cluster: Cluster, ejection: OutlierEjection) -> None:
    message = OutlierDetection(enforcing_success_rate={"value": 0})
    for name, enforcing, failures in (
        ("consecutive_5xx", "enforcing_consecutive_5xx", ejection.consecutive_5xx),
        ("consecutive_gateway_failure", "enforcing_consecutive_gateway_failure", ejection.consecutive_gateway_failures),
        ("consecutive_local_origin_failure", "enforcing_consecutive_local_origin_failure", ejection.consecutive_local_origin_failures),
    ):
        if failures is not None:
            getattr(message, name).value = failures
            getattr(message, enforcing).value = 100 if failures else 0
    if ejection.split_local_origin:
        message.split_external_local_origin_errors = True
        message.enforcing_local_origin_success_rate.value = 0
    for name, duration_ms in (("interval", ejection.interval_ms), ("base_ejection_time", ejection.base_time_ms)):
        if duration_ms:
            getattr(message, name).CopyFrom(milliseconds(duration_ms))
    if ejection.max_percent:
        message.max_ejection_percent.value = ejection.max_percent
    cluster.outlier_detection.CopyFrom(message)
    cluster.common_lb_config.healthy_panic_threshold.value = ejection.min_healthy_percent
