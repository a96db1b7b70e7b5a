"""Load reports: proxies report how much they have sent to each cluster and locality, and what failed (LRS).

https://www.envoyproxy.io/docs/envoy/v1.40.0/api-v3/service/load_stats/v3/lrs.proto
"""

from __future__ import annotations

import time
from collections.abc import Iterator

from envoy.config.core.v3.base_pb2 import Node
from envoy.config.endpoint.v3.load_report_pb2 import ClusterStats
from envoy.service.load_stats.v3.lrs_pb2 import LoadStatsRequest, LoadStatsResponse
from google.protobuf.duration_pb2 import Duration

from controlplane.fleet.load import LoadTotals, Traffic
from controlplane.model.proxies import Proxy
from controlplane.serve.reports.streams import ReportService

_ALL_CLUSTERS = "envoy.lrs.supports_send_all_clusters"  # XP-89


class LoadReports:
    """Hands the reports to the fold ``loads``."""

    def __init__(self, loads: LoadTotals, interval_s: float) -> None:
        """Ask for a report every ``interval_s``."""
        self._loads = loads
        self._streams: dict[str, int] = {}  # the last of each proxy
        self._interval = Duration(seconds=int(interval_s), nanos=int(interval_s % 1 * 1e9))

    def node(self, report: LoadStatsRequest) -> Node:
        """Return the node that the first ``report`` of a stream names."""
        return report.node

    def request(self, proxy: Proxy, first: LoadStatsRequest) -> bytes:
        """Ask for all clusters; of a proxy that cannot do that, for those that it names in its ``first`` report."""
        del proxy
        all_clusters = _ALL_CLUSTERS in first.node.client_features
        names = () if all_clusters else sorted(stats.cluster_name for stats in first.cluster_stats)
        request = LoadStatsResponse(send_all_clusters=all_clusters, clusters=names, load_reporting_interval=self._interval)
        return request.SerializeToString(deterministic=True)

    def receive(self, proxy: Proxy, report: LoadStatsRequest) -> None:
        """Take in a ``report`` of ``proxy``."""
        self._loads.report(proxy.id, (traffic for cluster in report.cluster_stats for traffic in _traffic(cluster)), time.time())

    def opened(self, proxy: Proxy, stream: int) -> None:
        """Note that ``proxy`` reports by ``stream``."""
        self._streams[proxy.id] = stream

    def closed(self, proxy: Proxy, stream: int) -> None:
        """Forget ``proxy``, unless it has opened another stream before ``stream`` ended."""
        if self._streams.get(proxy.id) == stream:
            del self._streams[proxy.id]
            self._loads.gone(proxy.id)


def load_service(loads: LoadTotals, interval_s: float) -> ReportService[LoadStatsRequest]:
    """Return the load reporting service, for ``loads``."""
    sink = LoadReports(loads, interval_s)
    return ReportService("envoy.service.load_stats.v3.LoadReportingService", "StreamLoadStats", LoadStatsRequest.FromString, sink)


def _traffic(cluster: ClusterStats) -> Iterator[Traffic]:
    seconds = cluster.load_report_interval.ToTimedelta().total_seconds()
    for stats in cluster.upstream_locality_stats:
        locality = stats.locality
        yield Traffic(
            cluster=cluster.cluster_name,
            locality=f"{locality.region}/{locality.zone}/{locality.sub_zone}".rstrip("/"),
            requests=stats.total_issued_requests,
            errors=stats.total_error_requests,
            under_way=stats.total_requests_in_progress,
            seconds=seconds,
        )
