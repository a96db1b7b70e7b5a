"""Health: proxies outside Kubernetes check the application beside them as requested, and report the results (HDS).

https://www.envoyproxy.io/docs/envoy/v1.40.0/configuration/upstream/health_checkers/hds
"""

from __future__ import annotations

from typing import Protocol

from envoy.config.core.v3.base_pb2 import Node
from envoy.config.core.v3.health_check_pb2 import HEALTHY
from envoy.service.health.v3.hds_pb2 import HealthCheckRequestOrEndpointHealthResponse as Report

from controlplane.ir.health_checks import HealthCheck
from controlplane.model.proxies import Proxy
from controlplane.serve.reports.streams import ReportService
from controlplane.translate.clusters.health_checks import specifier


class HealthCheckRegistry(Protocol):
    """Knows what is to be checked, and takes the results."""

    def connected(self, connection: int, proxy: Proxy) -> None:
        """Note that ``proxy`` has opened ``connection``."""

    def disconnected(self, connection: int) -> None:
        """Note that ``connection`` has ended."""

    def probe(self, proxy: Proxy) -> HealthCheck | None:
        """Return how the health of ``proxy`` is to be checked, ``None`` if it is not."""

    def health_checked(self, proxy: Proxy, *, healthy: bool) -> None:
        """Take in the result of the checks of ``proxy``."""


class HealthReports:
    """Hands the reports of health to ``checks``."""

    def __init__(self, checks: HealthCheckRegistry) -> None:
        """Begin with no reports."""
        self._checks = checks

    def node(self, report: Report) -> Node:
        """Return the node that the first ``report`` of a stream names."""
        return report.health_check_request.node

    def request(self, proxy: Proxy, first: Report) -> bytes:
        """Return what ``proxy`` is to check."""
        del first
        return specifier(self._checks.probe(proxy)).SerializeToString(deterministic=True)

    def receive(self, proxy: Proxy, report: Report) -> None:
        """Take in a ``report`` of ``proxy``: it is healthy if everything is that it checks, and it checks something."""
        if not report.HasField("endpoint_health_response"):
            return
        clusters = report.endpoint_health_response.cluster_endpoints_health
        statuses = [
            endpoint.health_status
            for cluster in clusters
            for locality in cluster.locality_endpoints_health
            for endpoint in locality.endpoints_health
        ]
        self._checks.health_checked(proxy, healthy=bool(statuses) and all(status == HEALTHY for status in statuses))

    def opened(self, proxy: Proxy, stream: int) -> None:
        """Note that ``proxy`` is connected, be its other streams at another replica."""
        self._checks.connected(stream, proxy)

    def closed(self, proxy: Proxy, stream: int) -> None:
        """Note that ``stream`` has ended; the last result counts as long as ``proxy`` is taken to be connected."""
        del proxy
        self._checks.disconnected(stream)


def health_service(checks: HealthCheckRegistry) -> ReportService[Report]:
    """Return the health discovery service, for ``checks``."""
    return ReportService("envoy.service.health.v3.HealthDiscoveryService", "StreamHealthCheck", Report.FromString, HealthReports(checks))
