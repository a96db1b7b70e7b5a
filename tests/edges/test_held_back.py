"""A rule that leads to what is not there: held back and told everywhere, then answered 503, and the same after a restart."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from pathlib import Path

import pytest
from envoy.config.route.v3.route_components_pb2 import VirtualHost

from controlplane.envoy.type_urls import RDS, VHDS
from controlplane.model.cluster_names import BLACK_HOLE
from tests.support.control_plane import DeltaCall, Running, control_plane, delta, delta_request, next_delta
from tests.support.waiting import until

NODE = "sidecar~10.0.0.1~web-1.shop~shop.svc.cluster.local"
MANIFESTS = """
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: shop, namespace: shop}}
spec: {{hosts: [shop.example], ports: [{{number: 80, name: http, protocol: HTTP}}], resolution: DNS}}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: routes, namespace: shop}}
spec: {{hosts: [shop.example], http: [{{route: [{{destination: {{host: {host}}}}}]}}]}}
"""
GOOD = "outbound|80||shop.example"


def write(folder: Path, host: str) -> None:
    (folder / "in.yaml").write_text(MANIFESTS.format(host=host))


async def follow(call: DeltaCall, clusters: list[str]) -> None:
    """Note the cluster that requests to the shop go to, whenever it is another one."""
    await call.write(delta_request(RDS, node=NODE, names=("80",)))
    await call.write(delta_request(VHDS))
    while True:
        response = await next_delta(call)
        await call.write(delta_request(response.type_url, nonce=response.nonce))
        for resource in response.resources if response.type_url == VHDS else ():
            host = VirtualHost.FromString(resource.resource.value)
            if host.name.startswith("80/shop.example"):
                clusters.append(host.routes[0].route.cluster)


async def codes(running: Running) -> set[str]:
    rows = await running.json("/v1/problems")
    assert isinstance(rows, list)
    return {row["code"] for row in rows}


async def proxy(running: Running) -> dict[str, object]:
    rows = await running.json("/v1/proxies")
    assert isinstance(rows, list)
    [row] = rows
    assert isinstance(row, dict)
    return row


def told(records: Iterable[logging.LogRecord], code: str) -> list[str]:
    """Return what the log says of Problems of ``code``, and of what is held back in other words."""
    return [record.getMessage() for record in records if vars(record).get("code") == code or "held back" in record.getMessage()]


async def test_a_typo_is_told_everywhere_and_then_answered_503(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    write(tmp_path, "shop.example")
    clusters: list[str] = []
    async with (
        control_plane(tmp_path, hold_unknown_s=4.0) as running,
        delta(running.at.xds) as call,
        asyncio.TaskGroup() as tasks,
    ):
        following = tasks.create_task(follow(call, clusters))
        await until(lambda: bool(clusters))
        write(tmp_path, "typo.example")

        async def held() -> bool:
            return "HeldBack" in await codes(running)

        await until(held)
        row, (_, metrics) = await proxy(running), await running.get("/metrics")
        at_first = list(clusters)
        await until(lambda: clusters[-1] == BLACK_HOLE)
        after = await codes(running), (await proxy(running))["heldBack"]
        await until(lambda: len(told(caplog.records, "HeldBack")) == 2)
        following.cancel()

    async with control_plane(tmp_path) as running, delta(running.at.xds) as call, asyncio.TaskGroup() as tasks:
        restarted: list[str] = []
        following = tasks.create_task(follow(call, restarted))
        await until(lambda: bool(restarted))
        following.cancel()

    [held_back] = list_of(row["heldBack"])
    assert (held_back["object"], held_back["waitingFor"], row["synced"]) == ("VirtualService/shop/routes", ["typo.example:80"], False)
    assert "navarch_held_back 1.0" in metrics
    assert at_first == [GOOD]
    assert after == ({"UnknownHost"}, [])
    assert told(caplog.records, "HeldBack") == ["problem", "problem mended"]
    assert "problem mended" not in told(caplog.records, "UnknownHost")
    assert restarted == [BLACK_HOLE]


def list_of(value: object) -> list[dict[str, object]]:
    assert isinstance(value, list)
    return value
