"""What is read off an Envoy's page, and what becomes of it over time."""

from __future__ import annotations

from math import inf

import pytest

from controlplane.drills.measuring.exposition import Counts, Reading, read_page
from controlplane.drills.measuring.figures import figures
from controlplane.drills.measuring.series import MeasuredEdge, Series
from controlplane.drills.measuring.statistics import percentile, wilson
from controlplane.model.cluster_names import ClusterName

HOST = "reviews.default.svc.cluster.local"
CLUSTER = ClusterName("outbound", 9080, "", HOST)
PAGE = """
# TYPE envoy_cluster_default_svc_cluster_local__upstream_rq_completed counter
envoy_cluster_default_svc_cluster_local__upstream_rq_completed{envoy_cluster_name="outbound|9080||reviews"} 50
envoy_cluster_default_svc_cluster_local__upstream_rq_xx{envoy_response_code_class="5",envoy_cluster_name="outbound|9080||reviews"} 3
envoy_cluster_default_svc_cluster_local__upstream_rq_retry{envoy_cluster_name="outbound|9080|v1|reviews"} 4
envoy_cluster_default_svc_cluster_local__upstream_rq_completed{envoy_cluster_name="inbound|9080||"} 7
envoy_cluster_default_svc_cluster_local__upstream_rq_time_bucket{envoy_cluster_name="outbound|9080||reviews",le="25"} 40
envoy_cluster_default_svc_cluster_local__upstream_rq_time_bucket{envoy_cluster_name="outbound|9080||reviews",le="+Inf"} 50
envoy_cluster_upstream_rq_completed{envoy_cluster_name="outbound|80||web"} 9
envoy_http_fault_aborts_injected{envoy_http_conn_manager_prefix="outbound_1"} 2
envoy_http_fault_aborts_injected{envoy_http_conn_manager_prefix="outbound_2"} 3
envoy_cluster_default_svc_cluster_local__upstream_rq_retry{envoy_cluster_name="outbound|9080||reviews"} nonsense
half a line {
"""


def reading(completed: int, failed: int = 0, ejected: int = 0, aborted: int = 0) -> Reading:
    return Reading({CLUSTER: Counts({"completed": completed, "5xx": failed, "ejected": ejected})}, {"aborted": aborted})


def test_a_page_is_read_by_cluster_though_envoy_cuts_its_name_at_the_first_dot() -> None:
    found = read_page(PAGE, [HOST, "web"])

    assert found.clusters[CLUSTER] == Counts({"completed": 50, "5xx": 3}, {25.0: 40, inf: 50})
    assert found.clusters[CLUSTER._replace(subset="v1")].values == {"retries": 4}
    assert found.clusters[ClusterName("outbound", 80, "", "web")].values == {"completed": 9}
    assert found.faults == {"aborted": 5}
    assert all(cluster.direction == "outbound" for cluster in found.clusters)


def test_what_was_counted_before_a_run_does_not_count() -> None:
    series = Series([MeasuredEdge(name="a", host=HOST)])

    series.add(0.0, {"one": reading(100, 5)})
    series.add(1.0, {"one": reading(110, 6)})

    assert series.between(0, 0.0, 1.0).values == {"completed": 10, "5xx": 1, "ejected": 0}


def test_a_proxy_that_begins_anew_is_counted_on() -> None:
    series = Series([MeasuredEdge(name="a", host=HOST)])

    for at, completed in enumerate((100, 110, 4)):
        series.add(float(at), {"one": reading(completed)})

    assert series.between(0, 0.0, 2.0).values["completed"] == 14


def test_a_proxy_that_is_silent_is_told_later_and_one_of_other_callers_is_not_counted() -> None:
    series = Series([MeasuredEdge(name="a", host=HOST, callers=frozenset(("one",)))])

    series.add(0.0, {"one": reading(0), "other": reading(0)})
    silent = series.add(1.0, {"one": None, "other": reading(50)})
    series.add(2.0, {"one": reading(20, ejected=1), "other": reading(90)})

    assert (silent.read, silent.silent) == (1, 1)
    assert series.between(0, 0.0, 1.0).values["completed"] == 0
    assert series.between(0, 0.0, 2.0).values == {"completed": 20, "5xx": 0, "ejected": 1}


def test_what_a_fault_at_the_caller_aborts_is_a_request_that_failed() -> None:
    series = Series([MeasuredEdge(name="a", host=HOST, aborts="5xx")])

    series.add(0.0, {"one": reading(10, aborted=2)})
    series.add(1.0, {"one": reading(10, aborted=7)})
    found = figures(series.between(0, 0.0, 1.0), 1.0)

    assert (found.requests, found.failures, found.attempts, found.success_percent) == (5, 5, 0, 0.0)


def test_a_share_of_few_is_less_sure_than_one_of_many() -> None:
    few, many = wilson(9, 10), wilson(900, 1000)

    assert few.low == pytest.approx(0.5958, abs=1e-3)
    assert few.high == pytest.approx(0.9821, abs=1e-3)
    assert many.low == pytest.approx(0.8798, abs=1e-3)
    assert wilson(0, 0) == (0.0, 1.0)
    assert wilson(10, 10).high == pytest.approx(1.0)


def test_percentiles_are_found_within_buckets() -> None:
    buckets = {10.0: 50, 20.0: 90, inf: 100}

    assert percentile(buckets, 50) == pytest.approx(10.0)
    assert percentile(buckets, 70) == pytest.approx(15.0)
    assert percentile(buckets, 99) == 20.0
    assert percentile({}, 50) is None
    assert percentile({10.0: 0, inf: 0}, 50) is None
