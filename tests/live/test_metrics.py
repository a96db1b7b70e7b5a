"""Istio's metrics by stock Envoys: what Kiali and Istio's dashboards ask of a real Prometheus, and that nobody is counted as another."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest
import pytest_asyncio
import yaml

from controlplane.model.identity import Identity
from tests.support.counted_mesh import CountedMesh, counted_mesh, labels_of
from tests.support.prometheus import Prometheus, complaints_about
from tests.support.waiting import until

pytestmark = pytest.mark.asyncio(loop_scope="module")

ADDONS = Path(__file__).parents[2] / "manifests" / "addons"
# What Kiali's graph groups by; a series without any of these, but the status of gRPC, is not drawn.
GRAPH = (
    "source_workload_namespace,source_workload,source_canonical_service,source_canonical_revision,destination_service_namespace,"
    "destination_service,destination_service_name,destination_workload_namespace,destination_workload,destination_canonical_service,"
    "destination_canonical_revision,request_protocol,response_code,grpc_response_status,response_flags"
)
LABELS = {
    "reporter",
    *(
        f"{side}_{name}"
        for side in ("source", "destination")
        for name in ("workload", "workload_namespace", "principal", "app", "version", "canonical_service", "canonical_revision", "cluster")
    ),
    *("destination_service", "destination_service_name", "destination_service_namespace", "request_protocol", "response_code"),
    *("response_flags", "connection_security_policy"),
}
WEB = {
    "destination_workload": "web-v1",
    "destination_workload_namespace": "shop",
    "destination_service": "web.shop.svc.cluster.local",
    "destination_service_name": "web",
    "destination_service_namespace": "shop",
    "destination_canonical_service": "web",
    "destination_canonical_revision": "v1",
}
CALLER = {
    "source_workload": "caller-v1",
    "source_workload_namespace": "elsewhere",
    "source_canonical_service": "caller",
}
NOBODY = {"source_workload": "unknown", "source_workload_namespace": "unknown", "source_canonical_service": "unknown"}
STRANGER = Identity("cluster.local", "elsewhere", "caller")  # with a certificate that says no workload


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[CountedMesh]:
    async with counted_mesh(tmp_path_factory.mktemp("metrics")) as started:
        yield started


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def prometheus(world: CountedMesh) -> AsyncIterator[Prometheus]:
    started = Prometheus(world.folder, [f"{world.network}.{suffix}:15090" for suffix in (11, 12, 13)])
    try:
        await started.start()
        yield started
    finally:
        await started.stop()


async def busy(world: CountedMesh) -> None:
    """Have each sort of client ask each sort of server."""
    assert [await world.through_own_envoy() for _ in range(3)] == [200] * 3
    assert await world.through_gateway() == 200
    assert await world.by_grpc(b"pears") == b"pears"
    assert await world.by_tcp(b"12345") == b"12345"
    assert (await world.ask(who=None)).status == 200
    assert (await world.ask(who=STRANGER)).status == 200
    assert await world.talk(b"12345", who=None) == b"12345"


async def test_each_series_has_the_labels_of_istio_and_the_peer_is_who_its_certificate_says(world: CountedMesh) -> None:
    await busy(world)

    await until(lambda: _counted(world, 11), "the workload's Envoy has counted")
    page = await world.page(11)
    [by_mesh] = [
        each
        for each in labels_of(page, "istio_requests_total")
        if each["source_workload"] == "caller-v1" and each["request_protocol"] == "http"
    ]
    assert set(by_mesh) == {*LABELS, "grpc_response_status"}
    assert by_mesh.items() >= {**WEB, **CALLER, "reporter": "destination", "connection_security_policy": "mutual_tls"}.items()
    assert by_mesh["source_version"] == "v1"
    assert by_mesh["source_principal"] == "spiffe://cluster.local/ns/elsewhere/sa/caller"
    assert by_mesh["destination_principal"] == "spiffe://cluster.local/ns/shop/sa/web"
    assert by_mesh["source_cluster"] == by_mesh["destination_cluster"] == "Kubernetes"
    assert by_mesh["response_flags"] == "-"


async def _counted(world: CountedMesh, suffix: int) -> bool:
    return "istio_tcp_connections_closed_total{" in await world.page(suffix)


async def test_who_is_unknown_stays_so_whatever_it_says(world: CountedMesh) -> None:
    said = {
        "x-envoy-peer-metadata": "YWRtaW4=",
        "x-forwarded-client-cert": 'Subject="UID=navarch/admin/admin/a/a/a/a/a"',
        "x-workload": "admin",
    }

    plain = await world.ask(who=None, headers=said)
    named = await world.ask(who=STRANGER, headers=said)

    assert [plain.status, named.status] == [200, 200]
    series = labels_of(await world.page(11), "istio_requests_total")
    by_policy = {each["connection_security_policy"]: each for each in series if each["source_workload"] == "unknown"}
    assert by_policy["none"].items() >= {**NOBODY, "source_principal": "unknown"}.items()
    assert by_policy["mutual_tls"].items() >= {**NOBODY, "source_principal": STRANGER.uri}.items()
    pages = (await world.page(11), await world.page(12))
    assert not [line for page in pages for line in page.splitlines() if "istio_" in line and "admin" in line]


async def test_the_questions_of_the_graph_are_answered(world: CountedMesh, prometheus: Prometheus) -> None:
    def asks(metric: str, match: str) -> str:
        return f"sum(rate({metric}{{{match}}}[30s])) by ({GRAPH}) > 0"

    from_outside = 'reporter="destination",source_workload="unknown",destination_workload_namespace="shop"'
    to_services = 'reporter="source",source_workload_namespace!="shop",source_workload!="unknown",destination_service_namespace="shop"'
    of_workloads = 'reporter="source",source_workload_namespace="elsewhere"'
    http, grpc = {"request_protocol": "http", "response_code": "200"}, {"request_protocol": "grpc", "grpc_response_status": "0"}

    for query, wanted in (
        (asks("istio_requests_total", from_outside), {**NOBODY, **WEB, **http}),
        (asks("istio_requests_total", to_services), {**CALLER, **WEB, **http}),
        (asks("istio_requests_total", to_services), {**CALLER, **WEB, **grpc}),
        (asks("istio_requests_total", to_services), {**WEB, **http, "source_workload": "front-v1", "source_workload_namespace": "edge"}),
        (asks("istio_requests_total", of_workloads), {**CALLER, **WEB, **http}),
        (asks("istio_tcp_sent_bytes_total", from_outside), {**NOBODY, **WEB, "request_protocol": "tcp", "response_flags": "-"}),
        (asks("istio_tcp_sent_bytes_total", to_services), {**CALLER, **WEB, "request_protocol": "tcp", "response_flags": "-"}),
        (asks("istio_tcp_sent_bytes_total", of_workloads), {**CALLER, **WEB, "request_protocol": "tcp", "response_flags": "-"}),
    ):
        await _answers(world, prometheus, query, wanted)


async def test_the_questions_of_the_dashboards_are_answered(world: CountedMesh, prometheus: Prometheus) -> None:
    by = "source_workload, source_workload_namespace, response_code, connection_security_policy"
    of_web = 'destination_service=~"web.shop.svc.cluster.local"'
    quantile = (
        f'histogram_quantile(0.50, sum(rate(istio_request_duration_milliseconds_bucket{{reporter=~"source",{of_web}}}[30s])) by (le))'
    )
    sizes = f'sum(rate(istio_response_bytes_sum{{reporter="destination",{of_web}}}[30s])) by (source_workload) > 0'
    received = f'sum(rate(istio_tcp_received_bytes_total{{reporter="destination",{of_web}}}[30s])) by (source_workload) > 0'
    secured = f'sum(rate(istio_requests_total{{connection_security_policy="mutual_tls",{of_web}}}[30s])) by ({by}) > 0'

    for query, wanted in (
        (quantile + " >= 0", {}),
        (sizes, {"source_workload": "caller-v1"}),
        (received, {"source_workload": "caller-v1"}),
        (secured, {"source_workload": "caller-v1", "connection_security_policy": "mutual_tls", "response_code": "200"}),
    ):
        await _answers(world, prometheus, query, wanted)


async def test_our_dashboard_asks_what_prometheus_answers(world: CountedMesh, prometheus: Prometheus) -> None:
    await busy(world)
    dashboard = json.loads((ADDONS / "grafana-mesh.json").read_text())
    asked = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]

    for query in asked:
        for name, value in {"$__rate_interval": "30s", "$service": ".*", "$namespace": ".*"}.items():
            query = query.replace(name, value)  # noqa: PLW2901 - Grafana does so, one after the other
        await _answers(world, prometheus, query, {})


async def test_prometheus_takes_our_configuration(tmp_path: Path) -> None:
    written = yaml.safe_load((ADDONS / "prometheus-scrape.yaml").read_text())
    for job in written["scrape_configs"]:
        assert job.pop("kubernetes_sd_configs") == [{"role": "pod"}]  # Debian's Prometheus is built without

    config = tmp_path / "prometheus.yaml"
    config.write_text(yaml.safe_dump(written))

    assert complaints_about(config) == ""


async def test_what_goes_to_no_service_is_counted_by_the_cluster_that_it_takes(world: CountedMesh) -> None:
    assert await world.through_own_envoy(host="nowhere.example") == 503

    series = labels_of(await world.page(12), "istio_requests_total")
    assert [each["destination_service"] for each in series if each["destination_service_name"] == "PassthroughCluster"] == ["unknown"]


async def _answers(world: CountedMesh, prometheus: Prometheus, query: str, wanted: Mapping[str, str]) -> None:
    """Wait, under traffic, until ``query`` has a series with the labels ``wanted``."""
    seen: list[Mapping[str, str]] = []

    async def holds() -> bool:
        await busy(world)
        seen[:] = [each.labels for each in await prometheus.ask(query)]
        return any(each.items() >= wanted.items() for each in seen)

    try:
        await until(holds, query)
    except TimeoutError as error:
        raise AssertionError(f"{query}: no {wanted} among {seen}") from error


async def test_a_telemetry_leaves_metrics_and_labels_out_and_adds_others(world: CountedMesh) -> None:
    world.save(
        "telemetry",
        """
apiVersion: telemetry.istio.io/v1
kind: Telemetry
metadata: {name: fewer, namespace: shop}
spec:
  metrics:
  - overrides:
    - {match: {metric: REQUEST_SIZE, mode: SERVER}, disabled: true}
    - match: {metric: REQUEST_COUNT, mode: SERVER}
      tagOverrides:
        request_method: {value: request.method}
        destination_app: {operation: REMOVE}
        caller: {value: downstream_peer.workload}
        outside: {value: "connection.mtls ? 'no' : 'yes'"}
""",
    )

    async def counts_so() -> bool:
        await world.through_own_envoy()
        series = labels_of(await world.page(11), "istio_requests_total")
        return any(
            each.get("request_method") == "GET" and "destination_app" not in each and each.get("caller") == "caller-v1" for each in series
        )

    await until(counts_so, "requests are counted by their method")
    before = len(labels_of(await world.page(11), "istio_request_bytes_count"))
    await world.through_own_envoy(path="/other")
    assert len(labels_of(await world.page(11), "istio_request_bytes_count")) == before
    assert "request_method" not in await world.page(12)


async def test_what_does_not_come_any_more_is_forgotten(world: CountedMesh) -> None:
    assert await world.through_gateway() == 200
    assert "istio_requests_total{" in await world.page(13)

    async def forgotten() -> bool:
        await asyncio.sleep(0.2)
        return "istio_" not in await world.page(13)

    await until(forgotten, "the gateway's series are gone")
    assert await world.through_gateway() == 200
    [line] = [line for line in (await world.page(13)).splitlines() if line.startswith("istio_requests_total{")]
    assert line.endswith(" 1")
