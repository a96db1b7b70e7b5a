"""From the probe of a WorkloadGroup to a health check that an Envoy can do, with the kubelet's defaults.

https://istio.io/latest/docs/reference/config/networking/workload-group/#ReadinessProbe
"""

from __future__ import annotations

from controlplane.ir.health_checks import GrpcCheck, HealthCheck, HttpCheck, TcpCheck
from controlplane.objects.networking.workload_group import HTTPHealthCheck, ReadinessProbe


def health_check(probe: ReadinessProbe) -> HealthCheck | None:
    """Return the check of ``probe``; ``None`` for a command, which an Envoy does not run."""
    method = _method(probe)
    if method is None:
        return None
    return HealthCheck(
        method=method,
        timeout_ms=1000 * (probe.timeout_seconds or 1),
        interval_ms=1000 * (probe.period_seconds or 10),
        healthy_after=probe.success_threshold or 1,
        unhealthy_after=probe.failure_threshold or 3,
    )


def _method(probe: ReadinessProbe) -> HttpCheck | TcpCheck | GrpcCheck | None:
    if probe.http_get:
        return _http(probe.http_get)
    if probe.tcp_socket:
        return TcpCheck(probe.tcp_socket.port, probe.tcp_socket.host)
    if probe.grpc and probe.grpc.port:
        return GrpcCheck(probe.grpc.port, probe.grpc.service)
    return None


def _http(http: HTTPHealthCheck) -> HttpCheck:
    return HttpCheck(
        port=http.port,
        path=http.path or "/",
        host=next((header.value for header in http.http_headers if header.name.lower() == "host"), http.host),
        headers=tuple((header.name, header.value) for header in http.http_headers if header.name.lower() != "host"),
        tls=http.scheme == "HTTPS",
    )
