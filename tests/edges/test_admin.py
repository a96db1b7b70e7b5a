"""The admin API over real HTTP."""

from __future__ import annotations

import asyncio
import socket
import time
from functools import partial
from pathlib import Path

import httpx
import pytest

from controlplane.admin import http_server
from controlplane.envoy.type_urls import CDS
from tests.support.control_plane import NODE, Running, control_plane, delta, delta_request, next_delta
from tests.support.manifests import selecting, service, workload
from tests.support.refusing_client import refuse
from tests.support.waiting import DEADLINE_S, until, within


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "reviews.yaml").write_text(f"{selecting('reviews', 'reviews')}---\n{workload('r1', 'reviews')}")
    (tmp_path / "bad.yaml").write_text(service("bad", "'none'"))
    return tmp_path


async def test_problems_are_told_with_file_and_line(folder: Path) -> None:
    async with control_plane(folder) as running:
        [problem] = await _list(running, "/v1/problems?severity=error")

    assert (problem["object"], problem["field"], problem["severity"]) == ("Service/shop/bad", "spec.ports[0].port", "error")
    assert (problem["file"], problem["line"]) == (str(folder / "bad.yaml"), 8)
    assert list(problem) == ["object", "field", "severity", "code", "message", "file", "line"]


async def test_objects_are_those_in_effect(folder: Path) -> None:
    async with control_plane(folder) as running:
        everything = await _list(running, "/v1/objects")
        services = await _list(running, "/v1/objects?kind=Service&namespace=shop")

    assert [each["object"] for each in everything] == ["Service/shop/reviews", "WorkloadEntry/shop/r1"]
    assert [(each["name"], each["file"], each["line"]) for each in services] == [("reviews", str(folder / "reviews.yaml"), 1)]


async def test_who_has_a_page_is_told_that_it_has_not_changed(folder: Path) -> None:
    async with control_plane(folder) as running, httpx.AsyncClient(base_url=f"http://{running.at.admin}") as client:
        pages = ("/v1/objects", "/v1/problems", "/v1/proxies", "/v1/load", "/v1/issuers", "/v1/refused-callers")
        tags = {page: (await client.get(page)).headers["etag"] for page in pages}
        again = [await client.get(page, headers={"If-None-Match": f'"other", W/{tag}'}) for page, tag in tags.items()]
        (folder / "more.yaml").write_text(service("more"))
        await until(partial(_has_changed, client, "/v1/objects", tags["/v1/objects"]))
        changed = [page for page, tag in tags.items() if await _has_changed(client, page, tag)]

    assert [(each.status_code, each.content, each.headers["etag"]) for each in again] == [(304, b"", tag) for tag in tags.values()]
    assert changed == ["/v1/objects"]


async def test_a_page_changes_with_the_lines_of_a_file_alone(folder: Path) -> None:
    async with control_plane(folder) as running, httpx.AsyncClient(base_url=f"http://{running.at.admin}") as client:
        tag = (await client.get("/v1/objects?kind=Service")).headers["etag"]
        (folder / "reviews.yaml").write_text(f"# why\n{(folder / 'reviews.yaml').read_text()}")
        await until(partial(_has_changed, client, "/v1/objects?kind=Service", tag))
        [row] = await _list(running, "/v1/objects?kind=Service")

    assert row["line"] == 2


async def test_a_page_changes_with_what_a_proxy_refuses(folder: Path) -> None:
    async with control_plane(folder) as running, delta(running.at.xds) as call:
        before = await running.get("/v1/problems")
        await refuse(call, {"id": NODE}, CDS, "outbound|80||reviews.shop.svc.cluster.local", "no such field")
        await until(partial(_tells, running, "no such field"))
        await call.done_writing()
        await until(partial(_is_again, running, before))


async def test_a_proxy_is_shown_with_what_it_was_sent_accepted_and_refused(folder: Path) -> None:
    async with control_plane(folder) as running, delta(running.at.xds) as call:
        await call.write(delta_request(CDS, node=NODE))
        clusters = await next_delta(call)
        [before] = await _types(running)
        refusal = delta_request(CDS, nonce=clusters.nonce)
        refusal.error_detail.code = 13
        refusal.error_detail.message = "no such field"
        await call.write(refusal)
        await until(partial(_refused, running))
        [after] = await _types(running)
        status, metrics = await running.get("/metrics")

    assert (before["type"], before["typeUrl"], before["sent"], before["acked"]) == ("Cluster", CDS, clusters.nonce, None)
    assert (after["nacked"], after["error"]) == (clusters.nonce, "no such field")
    assert status == 200
    assert 'navarch_streams{wire="delta"} 1.0' in metrics
    assert 'navarch_refused{type="Cluster"} 1.0' in metrics
    assert 'navarch_proxies{synced="false"} 1.0' in metrics


async def test_the_configuration_of_a_proxy_is_shown_by_type_and_by_name(folder: Path) -> None:
    async with control_plane(folder) as running, delta(running.at.xds) as call:
        await call.write(delta_request(CDS, node=NODE))
        clusters = await next_delta(call)
        shown = await _list(running, f"/v1/proxies/{NODE}/config/clusters")
        listeners = await _list(running, f"/v1/proxies/{NODE}/config/listeners")
        one = await running.json(f"/v1/proxies/{NODE}/config/clusters/outbound%7C80%7C%7Creviews.shop.svc.cluster.local")
        hosts = await _list(running, f"/v1/proxies/{NODE}/config/virtualhosts")
        assert isinstance(one, dict)
        host = await running.json(f"/v1/proxies/{NODE}/config/virtualhosts/{hosts[0]['name']}")
        missing = [
            (await running.get(path))[0]
            for path in (
                f"/v1/proxies/{NODE}/config/clusters/none",
                f"/v1/proxies/{NODE}/config/nothing",
                "/v1/proxies/nobody",
                "/v1/proxies/nobody/config/clusters",
            )
        ]

    assert [(each["name"], each["version"]) for each in shown] == sorted((each.name, each.version) for each in clusters.resources)
    assert one["resource"]["name"] == "outbound|80||reviews.shop.svc.cluster.local"
    assert host == hosts[0]
    assert '"@type"' in str(listeners).replace("'", '"')
    assert missing == [404, 404, 404, 404]


async def test_the_health_port_serves_nothing_else(folder: Path) -> None:
    async with control_plane(folder) as running:
        found = [
            (await running.get(path, health=True))[0]
            for path in ("/healthz", "/readyz", "/metrics", "/v1/problems", "/openapi.json", "/docs")
        ]
        by_name = await running.get("/readyz", health=True, Host="navarch.mesh.svc")

    assert found == [200, 200, 200, 404, 404, 404]
    assert by_name == (200, "ok\n")


async def test_the_api_describes_itself(folder: Path) -> None:
    async with control_plane(folder) as running:
        api = await running.json("/openapi.json")

    assert isinstance(api, dict)
    assert {"/v1/proxies", "/v1/proxies/{proxy_id}/config/{kind}", "/v1/objects", "/v1/problems"} <= set(api["paths"])
    assert {(path, method) for path, methods in api["paths"].items() for method in methods if method != "get"} == {
        ("/v1/plan", "post"),
        ("/v1/standings", "post"),
    }


async def test_the_api_is_described_for_people_without_the_network(folder: Path) -> None:
    async with control_plane(folder) as running:
        status, page = await running.get("/docs")

    assert status == 200
    assert "<code>GET /v1/history/diff</code>" in page
    assert "<script" not in page
    assert "http://" not in page


async def test_web_pages_cannot_reach_it(folder: Path) -> None:
    """T60: DNS rebinding and requests of other sites."""
    async with control_plane(folder) as running:
        port = running.at.admin.rpartition(":")[2]
        statuses = {
            host: (await running.get("/v1/problems", Host=host))[0]
            for host in (
                f"localhost:{port}",
                f"[::1]:{port}",
                "127.0.0.2",
                "evil.example",
                "10.0.0.1",
                "127.0.0.1.evil.example",
                "",
                "[::1]evil.example",
                "[::1",
            )
        }
        same = await running.get("/v1/problems", Origin=f"http://{running.at.admin}")
        other = await running.get("/v1/problems", Origin="http://evil.example")
        null = await running.get("/v1/problems", Origin="null")

    assert list(statuses.values()) == [200, 200, 200, 421, 421, 421, 421, 421, 421]
    assert (same[0], other[0], null[0]) == (200, 403, 403)


async def test_no_method_changes_anything(folder: Path) -> None:
    async with control_plane(folder) as running:
        for method in ("POST", "PUT", "DELETE", "PATCH"):
            assert await _raw(running, f"{method} /v1/problems HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n") == 405


async def test_bodies_are_refused_before_they_are_read(folder: Path) -> None:
    """T61."""
    async with control_plane(folder) as running:
        large = await _raw(running, "GET /v1/problems HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1073741824\r\n\r\n")
        endless = await _raw(running, "GET /v1/problems HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n")
        twice = await _raw(running, "GET /v1/problems HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\nConnection: close\r\n\r\n")

    assert (large, endless) == (413, 413)
    assert twice in {400, 421}


async def test_slow_peers_delay_nobody_and_are_hung_up_on(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """T61: slowloris."""
    monkeypatch.setattr(http_server, "HEADER_S", 1.0)
    async with control_plane(folder) as running:
        host, _, port = running.at.admin.rpartition(":")
        slow = [await asyncio.open_connection(host, int(port)) for _ in range(300)]
        for _, writer in slow:
            writer.write(b"GET /readyz HTTP/1.1\r\nHost: ")
        began = time.perf_counter()
        status, _ = await running.get("/readyz")
        took = time.perf_counter() - began
        async with asyncio.timeout(DEADLINE_S):
            left = [await reader.read() for reader, _ in slow]
        for _, writer in slow:
            writer.close()

    assert (status, took < within(0.5)) == (200, True)
    assert len(left) == 300


async def _list(running: Running, path: str) -> list[dict[str, object]]:
    found = await running.json(path)
    assert isinstance(found, list)
    return found


async def _types(running: Running) -> list[dict[str, object]]:
    row = await running.json(f"/v1/proxies/{NODE}")
    assert isinstance(row, dict)
    types: list[dict[str, object]] = row["connections"][0]["types"]
    return types


async def _refused(running: Running) -> bool:
    [row] = await _types(running)
    return row["error"] is not None


async def _has_changed(client: httpx.AsyncClient, page: str, tag: str) -> bool:
    return (await client.get(page, headers={"If-None-Match": tag})).status_code == 200


async def _tells(running: Running, message: str) -> bool:
    return message in (await running.get("/v1/problems"))[1]


async def _is_again(running: Running, before: tuple[int, str]) -> bool:
    return await running.get("/v1/problems") == before


async def _raw(running: Running, request: str) -> int:
    host, _, port = running.at.admin.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(request.encode())
    async with asyncio.timeout(DEADLINE_S):
        line = await reader.readline()
    writer.close()
    return int(line.split()[1])


def test_an_address_that_is_taken_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(OSError, match="in use"):
        http_server.HttpServer(_nothing, f"127.0.0.1:{taken.getsockname()[1]}").open()


async def _nothing(scope: http_server.Scope, receive: http_server.Receive, send: http_server.Send) -> None:
    raise NotImplementedError
