"""What a proxy refuses is a Problem of the object and field that made it, whatever its type."""

from __future__ import annotations

import asyncio
from pathlib import Path

import grpc
import pytest
import yaml
from envoy.config.route.v3.route_pb2 import RouteConfiguration

from controlplane.envoy.type_urls import CDS, EDS, LDS, RDS, SDS, VHDS
from tests.support.control_plane import (
    Running,
    SotwCall,
    control_plane,
    delta,
    next_delta,
    next_sotw,
    sotw,
    sotw_request,
)
from tests.support.refusing_client import refuse
from tests.support.secure_control_plane import asking, node, secure, stream
from tests.support.tls_secrets import gateway, pair, secret
from tests.support.waiting import until

NODE = "sidecar~10.0.0.1~web-1.shop~shop.svc.cluster.local"
HOST = "reviews.shop.svc.cluster.local"
MANIFESTS = """
apiVersion: v1
kind: Service
metadata: {name: reviews, namespace: shop}
spec: {clusterIP: 10.9.0.1, ports: [{name: http, port: 80}, {name: tcp-raw, port: 90}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: reviews-1, namespace: shop, labels: {kubernetes.io/service-name: reviews}}
addressType: IPv4
endpoints: [{addresses: [10.1.1.1]}]
ports: [{name: http, port: 80}, {name: tcp-raw, port: 90}]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: policy, namespace: shop}
spec: {host: reviews, subsets: [{name: v0, labels: {version: v0}}, {name: v1, labels: {version: v1}}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: routes, namespace: shop}
spec:
  hosts: [reviews]
  http: [{match: [{uri: {regex: "/a.*wkward"}}], route: [{destination: {host: reviews, port: {number: 80}}}]}]
  tcp: [{match: [{port: 90}], route: [{destination: {host: reviews, port: {number: 90}}}]}]
"""
CASES = (
    (LDS, "10.9.0.1_90", "no such thing", ("VirtualService/shop/routes", "spec")),
    (CDS, f"outbound|80|v1|{HOST}", "no such thing", ("DestinationRule/shop/policy", "spec.subsets[1]")),
    (EDS, f"outbound|80||{HOST}", "no such thing", ("EndpointSlice/shop/reviews-1", "endpoints")),
    (VHDS, f"80/{HOST}:80", "no such thing", ("VirtualService/shop/routes", "spec.http")),
    (VHDS, f"80/{HOST}:80", "bad regex /a.*wkward", ("VirtualService/shop/routes", "spec.http[0].match[0].uri.regex")),
)


@pytest.mark.parametrize(("type_url", "bad", "message", "expected"), CASES, ids=["lds", "cds", "eds", "vhds", "by-value"])
async def test_a_refusal_leads_to_its_object(type_url: str, bad: str, message: str, expected: tuple[str, str], tmp_path: Path) -> None:
    (tmp_path / "in.yaml").write_text(MANIFESTS)
    async with control_plane(tmp_path) as running, delta(running.at.xds) as call:
        await refuse(call, {"id": NODE}, type_url, bad, message)

        async def told() -> bool:
            return bool(await refused(running))

        await until(told)
        [problem] = await refused(running)

    assert (problem["object"], problem["field"]) == expected
    assert message in str(problem["message"])
    assert bad in str(problem["message"])
    assert problem["line"]


async def test_a_secret_that_is_refused_leads_to_the_gateway_that_names_it(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    field = "spec.servers[0].tls.credentialName"
    folder = tmp_path / "manifests"
    folder.mkdir()
    (folder / "in.yaml").write_text(yaml.safe_dump_all((gateway(), secret(pair()))))
    who = {**node("edge", "front"), "id": "router~10.0.0.1~front-1.edge~edge.svc.cluster.local"}
    who["metadata"] = {"NAMESPACE": "edge", "SERVICE_ACCOUNT": "front", "LABELS": {"app": "front"}}
    async with secure(folder) as plane:
        assert plane.running.at.xds_tls
        token, trusted = plane.token("edge", "front"), grpc.ssl_channel_credentials(plane.roots)
        async with stream(plane.running.at.xds_tls, trusted, token=token) as call:
            await refuse(call, who, SDS, "kubernetes://shop", "no such key")

            async def told() -> bool:
                return bool(await refused(plane.running))

            await until(told)
            [problem] = await refused(plane.running)
            (folder / "in.yaml").write_text(yaml.safe_dump_all((gateway(), secret(pair()))))
            mended = await next_delta(call)
            await call.write(asking(SDS, nonce=mended.nonce))

            async def taken_back() -> bool:
                return not await refused(plane.running)

            await until(taken_back)

    assert (problem["object"], problem["field"]) == ("Gateway/edge/front", field)
    assert str(problem["message"]).endswith("refused Secret kubernetes://shop, and keeps what it had: no such key")
    assert [vars(record)["at_fault"] for record in caplog.records if "at_fault" in vars(record)] == [f"Gateway/edge/front {field}"]


async def refused(running: Running) -> list[dict[str, object]]:
    rows = await running.json("/v1/problems")
    assert isinstance(rows, list)
    return [row for row in rows if row["code"] == "Refused"]


NEIGHBOUR = """
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: {name}, namespace: shop}}
spec: {{hosts: [{name}.example], ports: [{{number: 80, name: http, protocol: HTTP}}], resolution: DNS}}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: {name}, namespace: shop}}
spec: {{hosts: [{name}.example], http: [{{name: {route}, route: [{{destination: {{host: {name}.example}}}}]}}]}}
"""


NAMES = ("one", "two", "three")


async def serve(call: SotwCall, has: list[dict[str, str]]) -> None:
    """Accept every table without a route called ``bad``, and note the routes of each."""
    await call.write(sotw_request(RDS, node=NODE, names=("80",)))
    while True:
        response = await next_sotw(call)
        answer = sotw_request(RDS, nonce=response.nonce, version=response.version_info, names=("80",))
        routes: dict[str, str] = {}
        for packed in response.resources:
            for host in RouteConfiguration.FromString(packed.value).virtual_hosts:
                routes |= {host.name.partition(".")[0]: host.routes[0].name}
        if "bad" in routes.values():
            answer.error_detail.message = "no such thing"
        else:
            has.append({name: routes[name] for name in NAMES})
        await call.write(answer)


async def test_in_a_whole_table_a_bad_virtual_host_is_blamed_alone_and_its_neighbours_are_served(tmp_path: Path) -> None:
    def write(name: str, route: str) -> None:
        (tmp_path / f"{name}.yaml").write_text(NEIGHBOUR.format(name=name, route=route))

    for name in NAMES:
        write(name, "first")
    has: list[dict[str, str]] = []

    async with control_plane(tmp_path) as running, sotw(running.at.xds) as call, asyncio.TaskGroup() as tasks:
        serving = tasks.create_task(serve(call, has))
        await until(lambda: bool(has))
        write("two", "bad")

        async def told() -> bool:
            return bool(await refused(running))

        await until(told)
        write("three", "edited")
        await until(lambda: has[-1]["three"] == "edited")
        problems = await refused(running)
        write("two", "mended")
        await until(lambda: has[-1]["two"] == "mended")

        async def mended() -> bool:
            return not await refused(running)

        await until(mended)
        serving.cancel()

    assert [(problem["object"], problem["field"]) for problem in problems] == [("VirtualService/shop/two", "spec.http")]
    assert all(each["one"] == "first" for each in has)
    assert all(each["two"] in ("first", "mended") for each in has)
