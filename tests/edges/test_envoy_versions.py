"""Proxies of other versions: what they get, and where it is told which they are."""

from __future__ import annotations

import logging
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from envoy.config.route.v3.route_pb2 import RouteConfiguration

from controlplane.envoy.type_urls import RDS
from tests.support.control_plane import DeltaCall, Running, control_plane, delta, next_delta
from tests.support.secure_control_plane import asking
from tests.support.waiting import until

MANIFESTS = """
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: one, namespace: shop}
spec: {hosts: [one.example], ports: [{number: 80, name: http, protocol: HTTP}], resolution: DNS}
"""


def node(name: str, *version: int) -> dict[str, object]:
    said = {"version": dict(zip(("majorNumber", "minorNumber", "patch"), version, strict=True))} if version else {}
    return {"id": f"sidecar~10.0.0.1~{name}.shop~shop.svc.cluster.local", "userAgentName": "envoy", "userAgentBuildVersion": said}


async def routes(call: DeltaCall, who: dict[str, object]) -> RouteConfiguration:
    """Return the route table that ``who`` gets."""
    await call.write(asking(RDS, who, "80"))
    [sent] = (await next_delta(call)).resources
    return RouteConfiguration.FromString(sent.resource.value)


async def problems(running: Running) -> list[tuple[object, object, str]]:
    rows = await running.json("/v1/problems")
    assert isinstance(rows, list)
    return [(row["code"], row["severity"], str(row["message"])) for row in rows if str(row["code"]).endswith("Envoy")]


async def test_hosts_come_inline_where_vhds_is_refused(tmp_path: Path) -> None:
    (tmp_path / "in.yaml").write_text(MANIFESTS)
    async with control_plane(tmp_path) as running, delta(running.at.xds) as old, delta(running.at.xds) as new:
        of_old, of_new = await routes(old, node("old-1", 1, 36, 4)), await routes(new, node("new-1", 1, 37, 0))
        rows = await running.json("/v1/proxies")

    assert "one.example:80" in [host.name for host in of_old.virtual_hosts]
    assert not of_old.HasField("vhds")
    assert "one.example:80" not in [host.name for host in of_new.virtual_hosts]
    assert of_new.HasField("vhds")
    assert isinstance(rows, list)
    assert sorted(row["envoy"] for row in rows) == ["1.36.4", "1.37.0"]


async def test_who_is_not_supported_is_told_by_name_as_long_as_it_is_there(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    (tmp_path / "in.yaml").write_text(MANIFESTS)
    others = [node("unknown-1"), node("next-1", 1, 41, 0), node("right-1", 1, 38, 3), *(node(f"old-{at:02}", 1, 35, 2) for at in range(12))]
    async with control_plane(tmp_path) as running:
        async with AsyncExitStack() as stack:
            for who in others:
                await routes(await stack.enter_async_context(delta(running.at.xds)), who)
            told = {code: (severity, message) for code, severity, message in await problems(running)}

        async def none() -> bool:
            return not await problems(running)

        await until(none, "nobody is connected, and nothing is told")

    assert {code: severity for code, (severity, _) in told.items()} == {
        "OldEnvoy": "warning",
        "UnknownEnvoy": "warning",
        "NewEnvoy": "info",
    }
    old = told["OldEnvoy"][1]
    assert old.startswith("sidecar~10.0.0.1~old-00.shop~shop.svc.cluster.local, ")
    assert "old-09.shop~shop.svc.cluster.local and 2 more: this is Envoy 1.35.2" in old
    assert "~unknown-1.shop~" in told["UnknownEnvoy"][1]
    assert "~next-1.shop~" in told["NewEnvoy"][1]
    lines = [(record.levelno, vars(record)["code"]) for record in caplog.records if record.message == "proxy of another version"]
    assert sorted(lines) == [(logging.INFO, "NewEnvoy"), (logging.WARNING, "OldEnvoy"), (logging.WARNING, "UnknownEnvoy")]
