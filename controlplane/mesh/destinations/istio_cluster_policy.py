"""From the traffic policies of DestinationRules to values of our own.

https://istio.io/latest/docs/reference/config/networking/destination-rule/
"""

from __future__ import annotations

from typing import assert_never

from controlplane.ir.actions import AddressHash, CookieHash, HashKey, HeaderHash, QueryHash
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
    Ping,
    RingTable,
)
from controlplane.ir.tls import AuthorityFile, CertificateFiles, MeshTls, OriginatedTls, PlainUpstream, SecretRef, SystemRoots
from controlplane.model.credentials import authority_name, certificate_name
from controlplane.objects.networking.destination_rule import (
    ClientTLSSettings,
    ConnectionPoolSettings,
    ConsistentHashLB,
    Http2KeepAlive,
    HTTPSettings,
    LoadBalancerSettings,
    OutlierDetection,
    TcpKeepalive,
    TCPSettings,
    TrafficPolicy,
)

_ALGORITHMS = {
    "ROUND_ROBIN": Algorithm.ROUND_ROBIN,
    "RANDOM": Algorithm.RANDOM,
    "LEAST_CONN": Algorithm.LEAST_REQUEST,
    "LEAST_REQUEST": Algorithm.LEAST_REQUEST,
    "UNSPECIFIED": Algorithm.LEAST_REQUEST,
}
_UPGRADES = {"DEFAULT": None, "UPGRADE": True, "DO_NOT_UPGRADE": False}


def cluster_policy(policy: TrafficPolicy) -> ClusterPolicy:
    """Return what ``policy``, of one port, asks for."""
    return ClusterPolicy(
        load_balancing=_load_balancing(policy.load_balancer) if policy.load_balancer else None,
        pool=connection_pool(policy.connection_pool or ConnectionPoolSettings()),
        outliers=_outliers(policy.outlier_detection) if policy.outlier_detection else None,
        tls=_tls(policy.tls) if policy.tls else None,
    )


def _load_balancing(balancer: LoadBalancerSettings) -> LoadBalancing | None:
    if balancer.simple == "PASSTHROUGH":
        return OriginalDestination()
    if (policy := balancer.consistent_hash) and (key := _key(policy)):
        return ConsistentHash(key, _table(policy))
    return _ALGORITHMS[balancer.simple] if balancer.simple else None


def _key(policy: ConsistentHashLB) -> HashKey | None:
    """Return what requests are hashed by as ``policy`` says, ``None`` where it says nothing."""
    if policy.http_header_name:
        return HeaderHash(policy.http_header_name)
    if cookie := policy.http_cookie:
        return CookieHash(cookie.name, cookie.path, cookie.ttl, tuple((attribute.name, attribute.value) for attribute in cookie.attributes))
    if policy.http_query_parameter_name:
        return QueryHash(policy.http_query_parameter_name)
    return AddressHash() if policy.use_source_ip else None


def _table(policy: ConsistentHashLB) -> RingTable | MaglevTable:
    if policy.maglev:
        return MaglevTable(policy.maglev.table_size)
    return RingTable(policy.ring_hash.minimum_ring_size if policy.ring_hash else policy.minimum_ring_size)


def connection_pool(pool: ConnectionPoolSettings) -> ConnectionPool:
    """Return the limits that ``pool`` sets."""
    tcp, http = pool.tcp or TCPSettings(), pool.http or HTTPSettings()
    return ConnectionPool(
        max_connections=tcp.max_connections,
        max_pending_requests=http.http1_max_pending_requests,
        max_requests=http.http2_max_requests,
        max_retries=http.max_retries,
        max_requests_per_connection=http.max_requests_per_connection,
        max_concurrent_streams=http.max_concurrent_streams,
        connect_timeout_ms=tcp.connect_timeout,
        idle_timeout_ms=http.idle_timeout,
        tcp_idle_timeout_ms=tcp.idle_timeout,
        max_connection_duration_ms=tcp.max_connection_duration,
        keep_alive=_keep_alive(tcp.tcp_keepalive) if tcp.tcp_keepalive else None,
        ping=_ping(http.http2_keep_alive) if http.http2_keep_alive else None,
        upgrade=_UPGRADES[http.h2_upgrade_policy],
        use_client_protocol=http.use_client_protocol,
    )


def _keep_alive(keepalive: TcpKeepalive) -> KeepAlive:
    return KeepAlive(keepalive.probes, keepalive.time, keepalive.interval)


def _ping(keepalive: Http2KeepAlive) -> Ping | None:
    return Ping(keepalive.interval, keepalive.timeout or keepalive.interval) if keepalive.interval else None


def _outliers(detection: OutlierDetection) -> OutlierEjection:
    return OutlierEjection(
        consecutive_5xx=detection.consecutive5xx_errors,
        consecutive_gateway_failures=detection.consecutive_gateway_errors,
        consecutive_local_origin_failures=detection.consecutive_local_origin_failures,
        split_local_origin=detection.split_external_local_origin_errors,
        interval_ms=detection.interval,
        base_time_ms=detection.base_ejection_time,
        max_percent=detection.max_ejection_percent,
        min_healthy_percent=detection.min_health_percent,
    )


def _tls(settings: ClientTLSSettings) -> PlainUpstream | MeshTls | OriginatedTls:
    match settings.mode:
        case "DISABLE":
            return PlainUpstream()
        case "ISTIO_MUTUAL":
            return MeshTls(settings.subject_alt_names, settings.sni)
        case "SIMPLE" | "MUTUAL":
            checks = not settings.insecure_skip_verify
            return OriginatedTls(
                certificate=_certificate(settings) if settings.mode == "MUTUAL" else None,
                authority=_authority(settings) if checks else None,
                revoked="" if settings.credential_name else settings.ca_crl,
                names=settings.subject_alt_names if checks else (),
                server_name=settings.sni,
            )
        case _:
            assert_never(settings.mode)


def _certificate(settings: ClientTLSSettings) -> SecretRef | CertificateFiles:
    """Return what is shown. A credential comes by SDS, to proxies that may have it: others cannot connect."""
    if settings.credential_name:
        return SecretRef(certificate_name(settings.credential_name))
    return CertificateFiles(settings.client_certificate, settings.private_key)


def _authority(settings: ClientTLSSettings) -> SecretRef | AuthorityFile | SystemRoots:
    if settings.credential_name:
        return SecretRef(authority_name(settings.credential_name))
    return AuthorityFile(settings.ca_certificates) if settings.ca_certificates else SystemRoots()
