"""Which statistics an Envoy keeps by its bootstrap: what it has carried is counted, and what nobody uses costs nothing."""

from __future__ import annotations

from pathlib import Path

import httpx

from controlplane.bootstrap.statistics import Statistics
from tests.support.manifests import backed
from tests.support.single_envoy import SingleEnvoy, single_envoy
from tests.support.waiting import DEADLINE_S, until

SERVICES = 200
NOT_OF_A_SERVICE = 600  # statistics at most


def services(one: SingleEnvoy) -> None:
    """Write the Services, each with an instance that is not there."""
    documents = [
        backed(f"s{number}", "default", f"10.96.0.{number + 1}", {"name": "http", "port": 80}, one.ip, target=8000)
        for number in range(SERVICES)
    ]
    (one.folder / "manifests" / "services.yaml").write_text("\n---\n".join(documents))


async def known(one: SingleEnvoy) -> bool:
    """Return whether the Envoy has the instances of all of them."""
    text = (await one.client.get(f"http://{one.ip}:15000/clusters")).text
    return sum("::health_flags::" in line and line.startswith("outbound|80||s") for line in text.splitlines()) == SERVICES


async def names(one: SingleEnvoy) -> list[str]:
    """Return the names of its statistics."""
    text = (await one.client.get(f"http://{one.ip}:15000/stats")).text
    return [line.rpartition(": ")[0] for line in text.splitlines()]


async def request(one: SingleEnvoy, service: str) -> int:
    """Return the status of a request to ``service`` through the Envoy."""
    async with httpx.AsyncClient(proxy=f"http://{one.ip}:15002", timeout=DEADLINE_S) as client:
        return (await client.get(f"http://{service}.default.svc.cluster.local/")).status_code


async def test_a_service_costs_statistics_only_when_it_is_used(tmp_path: Path) -> None:
    async with single_envoy(tmp_path) as one:
        services(one)
        await one.start()
        await one.until_ready()
        await until(lambda: known(one), "all services are known", watched=one.process)
        before = await names(one)

        status = await request(one, "s7")

        assert status == 503
        after = await names(one)
        assert [name for name in before if "||s" in name] == []
        assert len(before) < NOT_OF_A_SERVICE
        assert {name.partition("||")[2].partition(".")[0] for name in after if "||s" in name} == {"s7"}
        assert "cluster.outbound|80||s7.default.svc.cluster.local.upstream_cx_connect_fail" in {name.replace(";", "") for name in after}
        page = (await one.client.get(f"http://{one.ip}:15090/stats/prometheus")).text
        assert len(page) < 200_000


async def test_what_an_operator_asks_for_is_kept_of_every_service(tmp_path: Path) -> None:
    asked = Statistics(
        suffixes=("membership_total",), regexps=(r"cluster\.outbound.*\.lb_healthy_panic",), buckets=(("cluster.xds-grpc", (1.0, 7.0)),)
    )
    async with single_envoy(tmp_path, statistics=asked) as one:
        services(one)
        await one.start()
        await one.until_ready()
        await until(lambda: known(one), "all services are known", watched=one.process)

        found = await names(one)

        assert sum(name.endswith(".membership_total") and "||s" in name for name in found) == SERVICES
        assert sum(name.endswith(".lb_healthy_panic") and "||s" in name for name in found) == SERVICES
        page = (await one.client.get(f"http://{one.ip}:15090/stats/prometheus")).text
        bounds = {
            line.partition('le="')[2].partition('"')[0]
            for line in page.splitlines()
            if line.startswith("envoy_cluster_upstream_cx_connect_ms_bucket") and "xds-grpc" in line
        }
        assert bounds == {"1", "7", "+Inf"}
