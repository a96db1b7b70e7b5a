"""How an Envoy is asked to check the application beside it: a health check by HDS.

https://www.envoyproxy.io/docs/envoy/v1.40.0/api-v3/service/health/v3/hds.proto
"""

from __future__ import annotations

from typing import assert_never

from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.config.core.v3 import health_check_pb2
from envoy.extensions.transport_sockets.tls.v3.tls_pb2 import UpstreamTlsContext
from envoy.service.health.v3.hds_pb2 import ClusterHealthCheck, HealthCheckSpecifier
from google.protobuf.duration_pb2 import Duration

from controlplane.envoy.packing import pack
from controlplane.ir.health_checks import GrpcCheck, HealthCheck, HttpCheck, TcpCheck
from controlplane.translate.addresses import milliseconds

APPLICATION = "application"
_LOCAL = "127.0.0.1"
_REPORT = Duration(seconds=1)


def specifier(check: HealthCheck | None) -> HealthCheckSpecifier:
    """Return that ``check`` is to be done, and its result reported each second; nothing is checked where there is none."""
    message = HealthCheckSpecifier(interval=_REPORT)
    if check is None:
        return message
    method = check.method
    host = (method.host if isinstance(method, TcpCheck) else "") or _LOCAL
    cluster = ClusterHealthCheck(
        cluster_name=APPLICATION,
        health_checks=[_health_check(check)],
        locality_endpoints=[{"endpoints": [{"address": {"socket_address": {"address": host, "port_value": method.port}}}]}],
    )
    if isinstance(method, HttpCheck) and method.tls:
        # Whose the certificate is, is not asked, as a kubelet does not either.
        tls = {"name": "envoy.transport_sockets.tls", "typed_config": pack(UpstreamTlsContext())}
        cluster.transport_socket_matches.append(Cluster.TransportSocketMatch(name="tls", transport_socket=tls))
    message.cluster_health_checks.append(cluster)
    return message


def _health_check(check: HealthCheck) -> health_check_pb2.HealthCheck:
    message = health_check_pb2.HealthCheck(
        timeout=milliseconds(check.timeout_ms),
        interval=milliseconds(check.interval_ms),
        no_traffic_interval=milliseconds(check.interval_ms),
        healthy_threshold={"value": check.healthy_after},
        unhealthy_threshold={"value": check.unhealthy_after},
        reuse_connection={"value": False},
    )
    match check.method:
        case HttpCheck(path=path, host=host, headers=headers):
            message.http_health_check.path = path
            message.http_health_check.host = host
            for name, value in headers:
                message.http_health_check.request_headers_to_add.add(header={"key": name, "value": value})
            message.http_health_check.expected_statuses.add(start=200, end=400)
        case TcpCheck():
            message.tcp_health_check.SetInParent()
        case GrpcCheck(service=service):
            message.grpc_health_check.SetInParent()
            message.grpc_health_check.service_name = service
        case _:
            assert_never(check.method)
    return message
