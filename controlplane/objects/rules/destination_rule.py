"""What a DestinationRule must keep to. https://istio.io/latest/docs/reference/config/networking/destination-rule/"""

from __future__ import annotations

from collections.abc import Iterator

from controlplane.objects.destination_rule import (
    ClientTLSSettings,
    ConnectionPoolSettings,
    ConsistentHashLB,
    DestinationRule,
    HTTPSettings,
    LoadBalancerSettings,
    OutlierDetection,
    PortTrafficPolicy,
    TCPSettings,
    TrafficPolicy,
)
from controlplane.objects.names import is_header
from controlplane.objects.review import Finding
from controlplane.objects.rules import common

MAX_MAGLEV = 5_000_011  # Envoy's limit of a Maglev table
MAX_RING = 8 << 20


def check(value: DestinationRule) -> Iterator[Finding]:
    """Yield what is wrong with ``value``."""
    spec = value.spec
    yield from common.hosts("spec.host", spec.host)
    if spec.traffic_policy:
        yield from check_policy("spec.trafficPolicy", spec.traffic_policy)
    names: set[str] = set()
    for at, subset in enumerate(spec.subsets):
        path = f"spec.subsets[{at}]"
        if not subset.name:
            yield common.required(f"{path}.name", "a name that is not empty")
        elif not is_header(subset.name) or "|" in subset.name:
            yield common.out_of_range(f"{path}.name", "a name of letters, digits and dashes", subset.name)
        if subset.name in names:
            yield common.conflict(f"{path}.name", f"expected each subset once, found {subset.name!r} again")
        names.add(subset.name)
        yield from common.labels(f"{path}.labels", subset.labels)
        if subset.traffic_policy:
            yield from check_policy(f"{path}.trafficPolicy", subset.traffic_policy)
    if spec.workload_selector:
        yield from common.selector("spec.workloadSelector.matchLabels", spec.workload_selector.match_labels)
    yield from common.exports("spec.exportTo", spec.export_to)


def check_policy(path: str, policy: TrafficPolicy) -> Iterator[Finding]:
    """Yield what is wrong with a traffic policy."""
    if not policy.model_fields_set:
        yield common.required(path, "at least one setting")
    yield from _settings(path, policy)
    if policy.tunnel:
        yield from common.ports(f"{path}.tunnel.targetPort", policy.tunnel.target_port)
        if policy.tunnel.protocol.upper() not in ("", "CONNECT", "POST"):
            yield common.out_of_range(f"{path}.tunnel.protocol", "CONNECT or POST", policy.tunnel.protocol)
        yield from common.hosts(f"{path}.tunnel.targetHost", policy.tunnel.target_host, wildcard=False)
    numbers: set[int] = set()
    for at, each in enumerate(policy.port_level_settings):
        here = f"{path}.portLevelSettings[{at}]"
        if each.port is None:
            yield common.required(f"{here}.port", "a port")
        else:
            yield from common.ports(f"{here}.port.number", each.port.number)
            if each.port.number in numbers:
                yield common.conflict(f"{here}.port.number", f"expected each port once, found {each.port.number} again")
            numbers.add(each.port.number)
        yield from _settings(here, each)


def _settings(path: str, policy: TrafficPolicy | PortTrafficPolicy) -> Iterator[Finding]:
    if policy.outlier_detection:
        yield from check_outliers(f"{path}.outlierDetection", policy.outlier_detection)
    if policy.connection_pool:
        yield from check_pool(f"{path}.connectionPool", policy.connection_pool)
    if policy.load_balancer:
        yield from _load_balancer(f"{path}.loadBalancer", policy.load_balancer)
    if policy.tls:
        yield from _tls(f"{path}.tls", policy.tls)


def check_pool(path: str, pool: ConnectionPoolSettings) -> Iterator[Finding]:
    """Yield what is wrong with the limits on connections and requests."""
    if pool.tcp is None and pool.http is None:
        yield common.required(path, "one of tcp and http")
    if pool.tcp:
        yield from _tcp(f"{path}.tcp", pool.tcp)
    if pool.http:
        yield from _http(f"{path}.http", pool.http)
        if pool.http.use_client_protocol and pool.http.h2_upgrade_policy == "UPGRADE":
            yield common.conflict(f"{path}.http.useClientProtocol", "expected one of useClientProtocol and an h2UpgradePolicy of UPGRADE")


def _tcp(path: str, tcp: TCPSettings) -> Iterator[Finding]:
    yield from _not_negative(path, maxConnections=tcp.max_connections)
    yield from common.durations(path, 1, connectTimeout=tcp.connect_timeout, maxConnectionDuration=tcp.max_connection_duration)
    yield from common.durations(path, 0, idleTimeout=tcp.idle_timeout)
    if tcp.tcp_keepalive:
        yield from common.durations(f"{path}.tcpKeepalive", 1000, time=tcp.tcp_keepalive.time, interval=tcp.tcp_keepalive.interval)


def _http(path: str, http: HTTPSettings) -> Iterator[Finding]:
    yield from _not_negative(
        path,
        http1MaxPendingRequests=http.http1_max_pending_requests,
        http2MaxRequests=http.http2_max_requests,
        maxRequestsPerConnection=http.max_requests_per_connection,
        maxRetries=http.max_retries,
        maxConcurrentStreams=http.max_concurrent_streams,
    )
    yield from common.durations(path, 1, idleTimeout=http.idle_timeout)
    if http.max_concurrent_streams > 2**31 - 1:
        yield common.out_of_range(f"{path}.maxConcurrentStreams", "at most 2147483647", http.max_concurrent_streams)
    if http.http2_keep_alive:
        keep_alive = http.http2_keep_alive
        if keep_alive.interval is None:
            yield common.required(f"{path}.http2KeepAlive.interval", "a duration")
        yield from common.durations(f"{path}.http2KeepAlive", 1, interval=keep_alive.interval, timeout=keep_alive.timeout)


def _not_negative(path: str, **named: int) -> Iterator[Finding]:
    for name, value in named.items():
        if value < 0:
            yield common.out_of_range(f"{path}.{name}", "a number from 0", value)


def check_outliers(path: str, outliers: OutlierDetection) -> Iterator[Finding]:
    """Yield what is wrong with when endpoints are left out."""
    yield from common.durations(path, 1, interval=outliers.interval, baseEjectionTime=outliers.base_ejection_time)
    yield from common.percent(f"{path}.maxEjectionPercent", outliers.max_ejection_percent)
    yield from common.percent(f"{path}.minHealthPercent", outliers.min_health_percent)
    if outliers.consecutive_errors:
        yield Finding(f"{path}.consecutiveErrors", "Deprecated", "expected consecutiveGatewayErrors or consecutive5xxErrors", fatal=False)
    if outliers.consecutive_local_origin_failures and not outliers.split_external_local_origin_errors:
        yield common.conflict(f"{path}.consecutiveLocalOriginFailures", "expected splitExternalLocalOriginErrors: true beside it")


def _load_balancer(path: str, balancer: LoadBalancerSettings) -> Iterator[Finding]:
    if balancer.simple is not None and balancer.consistent_hash is not None:
        yield common.conflict(path, "expected one of simple and consistentHash, found both")
    if balancer.consistent_hash:
        yield from _hash(f"{path}.consistentHash", balancer.consistent_hash)
    yield from common.durations(path, 1, warmupDurationSecs=balancer.warmup_duration_secs)
    if balancer.warmup:
        yield from common.durations(f"{path}.warmup", 1, duration=balancer.warmup.duration)
    locality = balancer.locality_lb_setting
    if locality and balancer.zone_aware_lb_setting:
        yield common.conflict(path, "expected one of localityLbSetting and zoneAwareLbSetting, found both")
    if locality and sum(bool(each) for each in (locality.distribute, locality.failover, locality.failover_priority)) > 1:
        if locality.distribute or not (locality.failover and locality.failover_priority):
            yield common.conflict(f"{path}.localityLbSetting", "expected one of distribute, failover and failoverPriority")


def _hash(path: str, policy: ConsistentHashLB) -> Iterator[Finding]:
    given = [each for each in (policy.http_header_name, policy.http_cookie, policy.use_source_ip, policy.http_query_parameter_name) if each]
    if len(given) != 1:
        yield common.required(path, "one of httpHeaderName, httpCookie, useSourceIp and httpQueryParameterName")
    if policy.http_header_name is not None and not is_header(policy.http_header_name):
        yield common.out_of_range(f"{path}.httpHeaderName", "the name of a header", policy.http_header_name)
    if policy.http_cookie and not policy.http_cookie.name:
        yield common.required(f"{path}.httpCookie.name", "a name that is not empty")
    if policy.http_cookie:
        yield from common.durations(f"{path}.httpCookie", 0, ttl=policy.http_cookie.ttl)
    if policy.maglev and policy.ring_hash:
        yield common.conflict(path, "expected one of ringHash and maglev, found both")
    if policy.maglev and policy.maglev.table_size > MAX_MAGLEV:
        yield common.out_of_range(f"{path}.maglev.tableSize", f"a prime number of at most {MAX_MAGLEV}", policy.maglev.table_size)
    ring = policy.ring_hash.minimum_ring_size if policy.ring_hash else policy.minimum_ring_size
    if ring > MAX_RING:
        yield common.out_of_range(f"{path}.ringHash.minimumRingSize", f"at most {MAX_RING}", ring)


def _tls(path: str, tls: ClientTLSSettings) -> Iterator[Finding]:
    files = (tls.client_certificate, tls.private_key, tls.ca_certificates)
    if tls.insecure_skip_verify and tls.mode in ("SIMPLE", "MUTUAL"):
        if tls.ca_certificates:
            yield common.conflict(f"{path}.insecureSkipVerify", "expected no caCertificates where nothing is verified")
        if tls.subject_alt_names:
            yield common.conflict(f"{path}.insecureSkipVerify", "expected no subjectAltNames where nothing is verified")
    match tls.mode:
        case "ISTIO_MUTUAL":
            if any((*files, tls.subject_alt_names, tls.sni, tls.credential_name)):
                yield common.conflict(path, "expected nothing beside mode: ISTIO_MUTUAL uses the mesh's certificates")
        case "MUTUAL" if tls.credential_name:
            if any(files):
                yield common.conflict(path, "expected one of credentialName and certificate files, found both")
        case "MUTUAL":
            if not tls.client_certificate:
                yield common.required(f"{path}.clientCertificate", "a file")
            if not tls.private_key:
                yield common.required(f"{path}.privateKey", "a file")
        case "SIMPLE" if tls.credential_name and tls.ca_certificates:
            yield common.conflict(path, "expected one of credentialName and caCertificates, found both")
        case _:
            pass
