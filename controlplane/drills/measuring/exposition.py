"""What an Envoy says of itself at its port for Prometheus, as far as drills need it.

A page has thousands of lines, of which a few are looked at: they are taken apart by hand, as a library for all of the format takes ten
times as long. https://prometheus.io/docs/instrumenting/exposition_formats/
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from controlplane.model.cluster_names import OUTBOUND, ClusterName, parse_cluster_name

# Envoy's counters of a cluster, and what they are called here.
# https://www.envoyproxy.io/docs/envoy/v1.40.0/configuration/upstream/cluster_manager/cluster_stats
COUNTERS: Mapping[str, str] = {
    "envoy_cluster_upstream_rq_total": "attempts",
    "envoy_cluster_upstream_rq_completed": "completed",
    "envoy_cluster_upstream_rq_retry": "retries",
    "envoy_cluster_upstream_rq_retry_success": "retry_successes",
    "envoy_cluster_upstream_rq_retry_limit_exceeded": "retries_exhausted",
    "envoy_cluster_upstream_rq_retry_overflow": "retry_overflows",
    "envoy_cluster_upstream_rq_timeout": "timeouts",
    "envoy_cluster_upstream_rq_per_try_timeout": "try_timeouts",
    "envoy_cluster_upstream_rq_pending_overflow": "overflows",
    "envoy_cluster_upstream_cx_overflow": "connection_overflows",
    "envoy_cluster_upstream_cx_connect_fail": "connect_failures",
    "envoy_cluster_upstream_rq_rx_reset": "resets",
    "envoy_cluster_outlier_detection_ejections_enforced_total": "ejections",
}
GAUGES: Mapping[str, str] = {
    "envoy_cluster_upstream_rq_active": "active",
    "envoy_cluster_outlier_detection_ejections_active": "ejected",
}
CLASSES = "envoy_cluster_upstream_rq_xx"
LATENCY = "envoy_cluster_upstream_rq_time_bucket"
# What faults at the caller do is counted by the listener, as it happens before a request comes to a cluster.
FAULTS: Mapping[str, str] = {"envoy_http_fault_aborts_injected": "aborted", "envoy_http_fault_delays_injected": "delayed"}
_CLUSTER, _CLASS, _BOUND = "envoy_cluster_name", "envoy_response_code_class", "le"
_OF_CLUSTERS = "envoy_cluster_"
_FAMILIES = (*COUNTERS, *GAUGES, CLASSES, LATENCY)
_UNFIT = re.compile(r"[^a-zA-Z0-9_]")  # for the name of a family: Envoy writes _ instead


@dataclass(frozen=True, slots=True)
class Counts:
    """What is counted of a cluster: by name, and how many requests took at most so many milliseconds."""

    values: Mapping[str, int] = field(default_factory=dict)
    buckets: Mapping[float, int] = field(default_factory=dict)  # cumulative, by upper bound


@dataclass(frozen=True, slots=True)
class Reading:
    """What one proxy has counted since it was started: by cluster, and what it injected at its listeners."""

    clusters: Mapping[ClusterName, Counts]
    faults: Mapping[str, int]


def read_page(text: str, hosts: Iterable[str]) -> Reading:
    """Return what is said of ``hosts`` in ``text``, the page of an Envoy; lines that cannot be understood are passed over."""
    families = _families(hosts)
    values: dict[ClusterName, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    buckets: dict[ClusterName, dict[float, int]] = defaultdict(lambda: defaultdict(int))
    faults: dict[str, int] = defaultdict(int)
    for line in text.splitlines():
        family, brace, rest = line.partition("{")
        inner, end, number = rest.rpartition("} ")
        count = _count(number)
        if not brace or not end or count is None:
            continue
        if family in FAULTS:
            faults[FAULTS[family]] += count
        elif family in families:
            meant, domain = families[family]
            labels = _labels(inner)
            cluster = _cluster(labels.get(_CLUSTER, ""), domain)
            if meant != LATENCY:
                values[cluster][_name(meant, labels)] += count
            elif (bound := _bound(labels.get(_BOUND, ""))) is not None:
                buckets[cluster][bound] += count
    counts = {cluster: Counts(dict(counted), dict(buckets.get(cluster, {}))) for cluster, counted in values.items()}
    return Reading({cluster: counted for cluster, counted in counts.items() if cluster.direction == OUTBOUND}, dict(faults))


def _families(hosts: Iterable[str]) -> Mapping[str, tuple[str, str]]:
    """Return the families on a page that say something of ``hosts``: which of ours each is, and what it has of their names.

    By itself Envoy takes the name of a cluster to end at its first dot, and the rest for a part of the name of what is counted.
    """
    domains = {host.partition(".")[2] for host in hosts} - {""}
    found = {family: (family, "") for family in _FAMILIES}
    for domain in domains:
        taken = _OF_CLUSTERS + _UNFIT.sub("_", f"{domain};.")
        found.update({taken + family.removeprefix(_OF_CLUSTERS): (family, domain) for family in _FAMILIES})
    return found


def _cluster(label: str, domain: str) -> ClusterName:
    cluster = parse_cluster_name(label.removesuffix(";"))
    return cluster._replace(host=f"{cluster.host}.{domain}") if domain else cluster


def _name(family: str, labels: Mapping[str, str]) -> str:
    if family == CLASSES:
        return f"{labels.get(_CLASS, '')}xx"
    return COUNTERS.get(family) or GAUGES[family]


def _labels(inner: str) -> dict[str, str]:
    """Return the labels in ``inner``; values with quotes in them are none of ours."""
    parts = inner.split('"')
    return {name.strip(" ,="): value for name, value in zip(parts[::2], parts[1::2], strict=False)}


def _count(text: str) -> int | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return int(number) if math.isfinite(number) and number >= 0 else None


def _bound(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
