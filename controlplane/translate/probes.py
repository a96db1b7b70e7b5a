"""How an Envoy is told to check the application beside it: a WorkloadGroup's probe as a health check (HDS).

https://www.envoyproxy.io/docs/envoy/v1.40.0/api-v3/service/health/v3/hds.proto
"""

from __future__ import annotations

from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.config.core.v3.health_check_pb2 import HealthCheck
from envoy.extensions.transport_sockets.tls.v3.tls_pb2 import UpstreamTlsContext
from envoy.service.health.v3.hds_pb2 import ClusterHealthCheck, HealthCheckSpecifier
from google.protobuf.duration_pb2 import Duration

from controlplane.envoy.packing import pack
from controlplane.objects.networking.workload_group import ReadinessProbe

APPLICATION = "application"
_LOCAL = "127.0.0.1"
_REPORT = Duration(seconds=1)


def specifier(probe: ReadinessProbe | None) -> HealthCheckSpecifier:
    """Return what is to be checked by ``probe``, and that it is told each second; nothing where it cannot be done by an Envoy."""
    found = HealthCheckSpecifier(interval=_REPORT)
    if probe is None:
        return found
    check = HealthCheck(
        timeout=Duration(seconds=probe.timeout_seconds or 1),
        interval=Duration(seconds=probe.period_seconds or 10),
        no_traffic_interval=Duration(seconds=probe.period_seconds or 10),
        healthy_threshold={"value": probe.success_threshold or 1},
        unhealthy_threshold={"value": probe.failure_threshold or 3},
        reuse_connection={"value": False},
    )
    where = _method(probe, check)
    if where is None:
        return found
    host, port = where
    cluster = ClusterHealthCheck(
        cluster_name=APPLICATION,
        health_checks=[check],
        locality_endpoints=[{"endpoints": [{"address": {"socket_address": {"address": host or _LOCAL, "port_value": port}}}]}],
    )
    if probe.http_get and probe.http_get.scheme == "HTTPS":
        # Whose the certificate is, is not asked, as a kubelet does not either.
        tls = {"name": "envoy.transport_sockets.tls", "typed_config": pack(UpstreamTlsContext())}
        cluster.transport_socket_matches.append(Cluster.TransportSocketMatch(name="tls", transport_socket=tls))
    found.cluster_health_checks.append(cluster)
    return found


def _method(probe: ReadinessProbe, check: HealthCheck) -> tuple[str, int] | None:
    """Say in ``check`` how it is done, and return where; ``None`` for a command, which an Envoy does not run."""
    if http := probe.http_get:
        check.http_health_check.path = http.path or "/"
        check.http_health_check.host = next((each.value for each in http.http_headers if each.name.lower() == "host"), http.host)
        for header in http.http_headers:
            if header.name.lower() != "host":
                check.http_health_check.request_headers_to_add.add(header={"key": header.name, "value": header.value})
        check.http_health_check.expected_statuses.add(start=200, end=400)
        return "", http.port
    if probe.tcp_socket:
        check.tcp_health_check.SetInParent()
        return probe.tcp_socket.host, probe.tcp_socket.port
    if probe.grpc and probe.grpc.port:
        check.grpc_health_check.service_name = probe.grpc.service
        return "", probe.grpc.port
    return None
