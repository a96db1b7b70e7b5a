"""What the admin API says of changes: what has changed lately, what is different between two moments, and what changes just now."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import httpx
import pytest

from controlplane.admin.changes import events
from controlplane.envoy.type_urls import CDS
from controlplane.untyped import Json, instant, items
from tests.support.control_plane import NODE, Running, control_plane, delta, delta_request, next_delta
from tests.support.manifests import selecting, service, workload
from tests.support.waiting import DEADLINE_S, until


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "reviews.yaml").write_text(f"{selecting('reviews', 'reviews')}---\n{workload('r1', 'reviews')}")
    return tmp_path


async def test_a_change_is_remembered_with_its_objects_resources_and_proxies(folder: Path) -> None:
    async with control_plane(folder) as running, delta(running.at.xds) as call:
        await call.write(delta_request(CDS, node=NODE))
        first = await next_delta(call)
        await call.write(delta_request(CDS, nonce=first.nonce))
        (folder / "more.yaml").write_text(service("more"))
        second = await next_delta(call)
        await call.write(delta_request(CDS, nonce=second.nonce))
        await until(partial(_newest_is_settled, running))
        [newest, *older] = await _rows(running, "/v1/history")
        one = await running.json(f"/v1/history/{newest['number']}")

    assert newest["objects"] == [{"object": "Service/shop/more", "change": "created"}]
    assert {"type": "Cluster", "name": "outbound|80||more.shop.svc.cluster.local"} in items(newest, "resources")
    assert (newest["proxies"], newest["waiting"], newest["refused"], newest["failed"]) == (1, 0, 0, False)
    assert isinstance(newest["seconds"], float)
    assert instant(newest, "at") > 0
    assert [each["object"] for row in older for each in items(row, "objects")] == ["Service/shop/reviews", "WorkloadEntry/shop/r1"]
    assert one == newest


async def test_what_is_different_between_two_moments_is_told_as_manifests(folder: Path) -> None:
    async with control_plane(folder) as running:
        before = await _last(running)
        (folder / "more.yaml").write_text(service("more"))
        await until(partial(_has, running, before + 1))
        (folder / "more.yaml").write_text(service("more", "81"))
        await until(partial(_has, running, before + 2))
        (folder / "more.yaml").unlink()
        await until(partial(_has, running, before + 3))
        [changed] = await _rows(running, f"/v1/history/diff?since={before + 1}&until={before + 2}")
        nothing = await _rows(running, f"/v1/history/diff?since={before}&until={before + 3}")
        [back] = await _rows(running, f"/v1/history/diff?since={before + 3}&until={before + 2}")
        unknown = await running.get("/v1/history/diff?since=0&until=99")

    assert changed["object"] == "Service/shop/more"
    assert (_port(changed["before"]), _port(changed["after"])) == (80, 81)
    assert nothing == []
    assert (back["before"], _port(back["after"])) == (None, 81)
    assert unknown == (404, json.dumps({"detail": f"expected changes from 0 to {before + 3}, found 0 and 99"}, separators=(",", ":")))


async def test_events_say_which_pages_have_changed(folder: Path) -> None:
    async with (
        control_plane(folder) as running,
        httpx.AsyncClient(base_url=f"http://{running.at.admin}", timeout=DEADLINE_S) as client,
        client.stream("GET", "/v1/events") as answer,
    ):
        told = _told(answer)
        (folder / "more.yaml").write_text(service("more"))
        by_object = await anext(told)
        (folder / "bad.yaml").write_text("kind: [")
        by_problem = await anext(told)
        async with delta(running.at.xds) as call:
            await call.write(delta_request(CDS, node=NODE))
            await next_delta(call)
            by_proxy = await anext(told)

    assert {"/v1/objects", "/v1/problems", "/v1/history"} <= set(by_object)
    assert "/v1/problems" in by_problem
    assert "/v1/proxies" in by_proxy


async def test_readers_of_events_are_bounded_and_take_nobodys_place(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "MOST_READERS", 2)
    async with control_plane(folder) as running, httpx.AsyncClient(base_url=f"http://{running.at.admin}", timeout=DEADLINE_S) as client:
        async with client.stream("GET", "/v1/events") as one, client.stream("GET", "/v1/events") as two:
            assert [each.status_code for each in (one, two)] == [200, 200]
            refused = await client.get("/v1/events")
            page = await client.get("/v1/objects")

        async def has_room() -> bool:
            async with client.stream("GET", "/v1/events") as again:
                return again.status_code == 200

        await until(has_room)

    assert (refused.status_code, page.status_code) == (503, 200)


async def _told(answer: httpx.Response) -> AsyncIterator[list[str]]:
    async with asyncio.timeout(DEADLINE_S):
        async for line in answer.aiter_lines():
            if line.startswith("data: "):
                yield json.loads(line.removeprefix("data: "))["pages"]


async def _rows(running: Running, path: str) -> list[Json]:
    found = await running.json(path)
    assert isinstance(found, list)
    return found


async def _last(running: Running) -> int:
    number = (await _rows(running, "/v1/history"))[0]["number"]
    assert isinstance(number, int)
    return number


async def _has(running: Running, number: int) -> bool:
    return await _last(running) >= number


async def _newest_is_settled(running: Running) -> bool:
    newest = (await _rows(running, "/v1/history"))[0]
    return newest["waiting"] == 0 and newest["seconds"] is not None


def _port(manifest: object) -> object:
    assert isinstance(manifest, dict)
    return manifest["spec"]["ports"][0]["port"]
