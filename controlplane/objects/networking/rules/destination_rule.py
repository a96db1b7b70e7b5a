"""What a DestinationRule must keep to.

https://istio.io/latest/docs/reference/config/networking/destination-rule/
"""

from __future__ import annotations

from collections.abc import Iterator

from controlplane.model.hosts import is_ip
from controlplane.objects.networking.destination_rule import (
    ClientTLSSettings,
    ConnectionPoolSettings,
    DestinationRule,
    DestinationRuleSpec,
    HTTPSettings,
    OutlierDetection,
    PortTrafficPolicy,
    Subset,
    TcpKeepalive,
    TCPSettings,
    TrafficPolicy,
    TunnelSettings,
)
from controlplane.objects.networking.rules.load_balancing import check_load_balancer
from controlplane.objects.types import rules
from controlplane.objects.types.findings import Finding
from controlplane.objects.types.names import is_fqdn, is_label

_MAX_KEEPALIVE_S = 32767  # https://man7.org/linux/man-pages/man7/tcp.7.html, and the kernel's MAX_TCP_KEEPIDLE
_MAX_PROBES = 127
_SETTINGS = ("load_balancer", "connection_pool", "outlier_detection", "tls")


def check(rule: DestinationRule) -> Iterator[Finding]:
    """Yield what is wrong with ``rule``."""
    spec = rule.spec
    yield from rules.host_name("spec.host", spec.host)
    if spec.traffic_policy:
        yield from check_traffic_policy("spec.trafficPolicy", spec.traffic_policy)
    names: set[str] = set()
    for index, subset in enumerate(spec.subsets):
        yield from _subset(f"spec.subsets[{index}]", subset)
        if subset.name in names:
            yield rules.conflict(f"spec.subsets[{index}].name", f"expected each subset once, found {subset.name[:80]!r} again")
        names.add(subset.name)
    if spec.workload_selector:
        yield from rules.selector("spec.workloadSelector.matchLabels", spec.workload_selector.match_labels)
    yield from _exports(spec, rule.meta.namespace)


def _exports(spec: DestinationRuleSpec, namespace: str) -> Iterator[Finding]:
    yield from rules.export_to("spec.exportTo", spec.export_to, namespace)
    if spec.workload_selector and not {*spec.export_to} <= {rules.OWN_NAMESPACE, namespace}:
        yield rules.conflict("spec.exportTo", "expected the own namespace alone: a workloadSelector selects workloads of it")


def _subset(path: str, subset: Subset) -> Iterator[Finding]:
    if not subset.name:
        yield rules.required(f"{path}.name", "a name that is not empty")
    elif not is_label(subset.name):
        yield rules.out_of_range(f"{path}.name", "a name of letters, digits and dashes", subset.name)
    yield from rules.labels(f"{path}.labels", subset.labels)
    if subset.traffic_policy:
        yield from check_traffic_policy(f"{path}.trafficPolicy", subset.traffic_policy)


def check_traffic_policy(path: str, policy: TrafficPolicy) -> Iterator[Finding]:
    """Yield what is wrong with a traffic policy."""
    if not any(getattr(policy, name) for name in type(policy).model_fields):
        yield rules.required(path, "at least one setting")
    yield from _settings(path, policy)
    if policy.tunnel:
        yield from _tunnel(f"{path}.tunnel", policy.tunnel)
    numbers: set[int] = set()
    for index, port_policy in enumerate(policy.port_level_settings):
        port_path = f"{path}.portLevelSettings[{index}]"
        if port_policy.port is None:
            yield rules.required(f"{port_path}.port", "a port")
        else:
            yield from rules.port_number(f"{port_path}.port.number", port_policy.port.number)
            if port_policy.port.number in numbers:
                yield rules.warning(
                    f"{port_path}.port.number", "Conflict", f"port {port_policy.port.number} has settings already: these are not used"
                )
            numbers.add(port_policy.port.number)
        if not any(getattr(port_policy, name) for name in _SETTINGS):
            yield rules.required(port_path, "at least one of loadBalancer, connectionPool, outlierDetection and tls")
        yield from _settings(port_path, port_policy)


def _settings(path: str, policy: TrafficPolicy | PortTrafficPolicy) -> Iterator[Finding]:
    if policy.outlier_detection:
        yield from check_outlier_detection(f"{path}.outlierDetection", policy.outlier_detection)
    if policy.connection_pool:
        yield from check_connection_pool(f"{path}.connectionPool", policy.connection_pool)
    if policy.load_balancer:
        yield from check_load_balancer(f"{path}.loadBalancer", policy.load_balancer, outliers=policy.outlier_detection is not None)
    if policy.tls:
        yield from _tls(f"{path}.tls", policy.tls)


def _tunnel(path: str, tunnel: TunnelSettings) -> Iterator[Finding]:
    if tunnel.protocol not in ("", "CONNECT", "POST"):
        yield rules.out_of_range(f"{path}.protocol", "CONNECT or POST", tunnel.protocol)
    if not is_ip(tunnel.target_host) and not is_fqdn(tunnel.target_host):
        yield rules.out_of_range(f"{path}.targetHost", "a DNS name or an IP address", tunnel.target_host)
    yield from rules.port_number(f"{path}.targetPort", tunnel.target_port)


def check_connection_pool(path: str, pool: ConnectionPoolSettings) -> Iterator[Finding]:
    """Yield what is wrong with the limits on connections and requests."""
    if pool.tcp is None and pool.http is None:
        yield rules.required(path, "one of tcp and http")
    if pool.tcp:
        yield from _tcp(f"{path}.tcp", pool.tcp)
    if pool.http:
        yield from _http(f"{path}.http", pool.http)


def _tcp(path: str, tcp: TCPSettings) -> Iterator[Finding]:
    yield from _not_negative(path, maxConnections=tcp.max_connections)
    if tcp.tcp_keepalive:
        yield from _keepalive(f"{path}.tcpKeepalive", tcp.tcp_keepalive)


def _keepalive(path: str, keepalive: TcpKeepalive) -> Iterator[Finding]:
    """Yield what Linux would refuse, on each connection, of ``keepalive``."""
    for name, duration_ms in (("time", keepalive.time), ("interval", keepalive.interval)):
        if duration_ms is not None and duration_ms > _MAX_KEEPALIVE_S * 1000:
            yield rules.out_of_range(f"{path}.{name}", f"at most {_MAX_KEEPALIVE_S}s", f"{duration_ms}ms")
        elif duration_ms is not None and duration_ms % 1000:
            yield rules.warning(f"{path}.{name}", "Rounded", "TCP knows whole seconds, from 1: this is rounded")
    if keepalive.probes is not None and keepalive.probes > _MAX_PROBES:
        yield rules.out_of_range(f"{path}.probes", f"at most {_MAX_PROBES}", keepalive.probes)


def _http(path: str, http: HTTPSettings) -> Iterator[Finding]:
    yield from _not_negative(
        path,
        http1MaxPendingRequests=http.http1_max_pending_requests,
        http2MaxRequests=http.http2_max_requests,
        maxRequestsPerConnection=http.max_requests_per_connection,
        maxRetries=http.max_retries,
        maxConcurrentStreams=http.max_concurrent_streams,
    )
    if http.use_client_protocol and http.h2_upgrade_policy == "UPGRADE":
        yield rules.conflict(f"{path}.useClientProtocol", "expected one of useClientProtocol and an h2UpgradePolicy of UPGRADE")
    if http.http2_keep_alive and http.http2_keep_alive.interval is None:
        yield rules.required(f"{path}.http2KeepAlive.interval", "a duration")


def _not_negative(path: str, **limits: int) -> Iterator[Finding]:
    for name, limit in limits.items():
        if limit < 0:
            yield rules.out_of_range(f"{path}.{name}", "a number from 0", limit)


def check_outlier_detection(path: str, outliers: OutlierDetection) -> Iterator[Finding]:
    """Yield what is wrong with when endpoints are left out."""
    yield from rules.percent(f"{path}.maxEjectionPercent", outliers.max_ejection_percent)
    yield from rules.percent(f"{path}.minHealthPercent", outliers.min_health_percent)
    if outliers.consecutive_errors:
        yield rules.warning(
            f"{path}.consecutiveErrors", "Deprecated", "has no effect: consecutiveGatewayErrors and consecutive5xxErrors take its place"
        )
    if outliers.consecutive_local_origin_failures and not outliers.split_external_local_origin_errors:
        yield rules.conflict(f"{path}.consecutiveLocalOriginFailures", "expected splitExternalLocalOriginErrors: true beside it")


def _unverified(path: str, tls: ClientTLSSettings) -> Iterator[Finding]:
    """Yield what stands beside ``insecureSkipVerify``; the credential of MUTUAL may be there for the client's certificate alone."""
    authority = tls.credential_name if tls.mode == "SIMPLE" else ""
    for name, setting in (
        ("caCertificates", tls.ca_certificates),
        ("subjectAltNames", tls.subject_alt_names),
        ("credentialName", authority),
    ):
        if setting:
            yield rules.conflict(f"{path}.{name}", "expected nothing here where insecureSkipVerify says that nothing is verified")
    message = "whoever answers is believed to be the server: nothing is verified"
    yield rules.warning(f"{path}.insecureSkipVerify", "NotVerified", message)


def _tls(path: str, tls: ClientTLSSettings) -> Iterator[Finding]:
    yield from rules.credential(f"{path}.credentialName", tls.credential_name)
    files = (tls.client_certificate, tls.private_key, tls.ca_certificates)
    verifies = tls.mode in ("SIMPLE", "MUTUAL")
    if verifies and tls.insecure_skip_verify:
        yield from _unverified(path, tls)
    if verifies and tls.credential_name:
        if any((*files, tls.ca_crl)):
            yield rules.conflict(path, "expected one of credentialName and files, found both")
    elif tls.mode == "MUTUAL":
        for name, setting in (("clientCertificate", tls.client_certificate), ("privateKey", tls.private_key)):
            if not setting:
                yield rules.required(f"{path}.{name}", "a file")
    elif tls.mode == "ISTIO_MUTUAL" and any((*files, tls.credential_name)):
        yield rules.conflict(path, "expected no certificates beside ISTIO_MUTUAL, which uses the mesh's own")
