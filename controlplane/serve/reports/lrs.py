"""Load reports: proxies say how much they have sent to each cluster and locality, and what failed (LRS).

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

_ALL = "envoy.lrs.supports_send_all_clusters"  # XP-89


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

    def asks(self, proxy: Proxy, first: LoadStatsRequest) -> bytes:
        """Ask for all clusters; of a proxy that cannot do that, for those that it names in its ``first`` report."""
        del proxy
        all_of_them = _ALL in first.node.client_features
        names = () if all_of_them else sorted(each.cluster_name for each in first.cluster_stats)
        asked = LoadStatsResponse(send_all_clusters=all_of_them, clusters=names, load_reporting_interval=self._interval)
        return asked.SerializeToString(deterministic=True)

    def take(self, proxy: Proxy, report: LoadStatsRequest) -> None:
        """Take in a ``report`` of ``proxy``."""
        self._loads.report(proxy.id, (each for cluster in report.cluster_stats for each in _traffic(cluster)), time.time())

    def came(self, proxy: Proxy, stream: int) -> None:
        """Take in that ``proxy`` reports by ``stream``."""
        self._streams[proxy.id] = stream

    def gone(self, proxy: Proxy, stream: int) -> None:
        """Forget ``proxy``, unless it has begun another stream than ``stream`` before this one ended."""
        if self._streams.get(proxy.id) == stream:
            del self._streams[proxy.id]
            self._loads.gone(proxy.id)


def load_service(loads: LoadTotals, interval_s: float) -> ReportService[LoadStatsRequest]:
    """Return the load reporting service, for ``loads``."""
    desk = LoadReports(loads, interval_s)
    return ReportService("envoy.service.load_stats.v3.LoadReportingService", "StreamLoadStats", LoadStatsRequest.FromString, desk)


def _traffic(cluster: ClusterStats) -> Iterator[Traffic]:
    seconds = cluster.load_report_interval.ToTimedelta().total_seconds()
    for each in cluster.upstream_locality_stats:
        place = each.locality
        yield Traffic(
            cluster=cluster.cluster_name,
            locality=f"{place.region}/{place.zone}/{place.sub_zone}".rstrip("/"),
            requests=each.total_issued_requests,
            errors=each.total_error_requests,
            under_way=each.total_requests_in_progress,
            seconds=seconds,
        )
