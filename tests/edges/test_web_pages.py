"""The operator's pages, in a real browser: what they show, by keys alone, in light and dark, on a desk and on a phone."""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import httpx
import pytest
from playwright.async_api import Browser, ViewportSize, expect

from controlplane.envoy.type_urls import CDS, EDS, LDS
from controlplane.fleet.load import Traffic
from tests.support.browser import DESK, PHONE, Scheme, barriers, browser, opened, picture
from tests.support.control_plane import Running, control_plane, delta, delta_request, next_delta
from tests.support.manifests import document, selecting, service, workload
from tests.support.refusing_client import refuse
from tests.support.waiting import until

_REFUSES = "sidecar~10.0.0.2~reviews-1.shop~shop.svc.cluster.local"
_WEB = "sidecar~10.0.0.1~web-1.shop~shop.svc.cluster.local"
_CLUSTER = "outbound|80||reviews.shop.svc.cluster.local"
_HOSTILE = '"><img src=x onerror=alert(1)>'  # a host, which Problems quote
_PAGES = {
    "mesh": "/",
    "proxies": "/proxies",
    "proxy": f"/proxies/{_REFUSES}",
    "resources": f"/resources?proxy={_WEB}&kind=clusters&name={_CLUSTER.replace('|', '%7C')}",
    "objects": "/objects",
    "problems": "/problems",
    "plan-form": "/plan",
    "history": "/history",
    "explain": f"/explain?proxy={_WEB}&method=GET&target=http://reviews.shop/old&headers=end-user:%20jason",
}
_LOOKS: tuple[tuple[str, ViewportSize, Scheme], ...] = (("light", DESK, "light"), ("dark", DESK, "dark"), ("phone", PHONE, "light"))
_SERVICES = {"web": "10.0.0.1", "reviews": "10.0.0.2", "ratings": "10.0.0.3", "details": "10.0.0.4"}
_TRAFFIC = (  # who asks whom, requests and errors of 10 s
    ("client", "web", 412, 0),
    ("web", "reviews", 398, 3),
    ("web", "details", 404, 0),
    ("reviews", "ratings", 260, 61),
    ("ratings", "details", 0, 0),
)
_ROUTES = document(
    "VirtualService",
    "reviews",
    "shop",
    hosts=["reviews.shop.svc.cluster.local"],
    http=[
        {"name": "tests", "match": [{"headers": {"end-user": {"exact": "tester"}}}], "route": [{"destination": {"host": "ratings"}}]},
        {"name": "old", "match": [{"uri": {"prefix": "/old"}}], "timeout": "3s", "route": [{"destination": {"host": "reviews"}}]},
        {"route": [{"destination": {"host": "reviews"}}]},
    ],
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    services = (f"{selecting(name, name)}---\n{workload(f'{name}-1', name, ip)}" for name, ip in _SERVICES.items())
    (tmp_path / "shop.yaml").write_text("---\n".join(services))
    (tmp_path / "routes.yaml").write_text(_ROUTES)
    (tmp_path / "bad.yaml").write_text(service("bad", "'none'"))
    hostile = document("VirtualService", "hostile", "shop", hosts=[_HOSTILE], http=[{"route": [{"destination": {"host": _HOSTILE}}]}])
    (tmp_path / "hostile.yaml").write_text(hostile)
    return tmp_path


@contextlib.asynccontextmanager
async def mesh(folder: Path) -> AsyncIterator[Running]:
    """Serve ``folder`` to proxies that accept, one that never answers, and one that refuses a cluster; all but one report traffic."""
    async with control_plane(folder) as running, contextlib.AsyncExitStack() as calls:
        nodes = {name: f"sidecar~{ip}~{name}-1.shop~shop.svc.cluster.local" for name, ip in _SERVICES.items()}
        nodes |= {
            "client": "sidecar~10.0.0.9~client-1.edge~edge.svc.cluster.local",
            "slow": "sidecar~10.0.0.8~slow-1.shop~shop.svc.cluster.local",
        }
        for name, node in nodes.items():
            call = await calls.enter_async_context(delta(running.at.xds))
            if node == _REFUSES:
                await refuse(call, {"id": node}, CDS, _CLUSTER, "no such field")
                continue
            for type_url in (CDS,) if name == "slow" else (CDS, LDS, EDS):
                names = (_CLUSTER,) if type_url == EDS else ()
                await call.write(delta_request(type_url, node=node, names=names))
                response = await next_delta(call)
                if name != "slow":
                    await call.write(delta_request(type_url, nonce=response.nonce))
        for source in sorted({asks for asks, *_ in _TRAFFIC}):
            asked = [(target, requests, errors) for asks, target, requests, errors in _TRAFFIC if asks == source]
            running.plane._recorder.loads.report(nodes[source], [_traffic(target, 40, 0) for target, *_ in asked], time.time())
            running.plane._recorder.loads.report(nodes[source], [_traffic(*each) for each in asked if each[1]], time.time())
        yield running


def _traffic(target: str, requests: int, errors: int) -> Traffic:
    cluster = f"outbound|80||{target}.shop.svc.cluster.local"
    return Traffic(cluster=cluster, locality="", requests=requests, errors=errors, under_way=1, seconds=10)


@contextlib.asynccontextmanager
async def browsed(folder: Path) -> AsyncIterator[tuple[Running, Browser]]:
    async with browser() as chromium, mesh(folder) as running:
        yield running, chromium


async def test_pages_show_proxies_and_problems(folder: Path) -> None:
    async with browsed(folder) as (running, chromium), opened(chromium, running.at.admin) as page:
        await page.goto("/proxies")
        row = page.get_by_role("row", name="reviews-1.shop")
        await expect(row).to_contain_text("NACKED")
        await expect(page.get_by_role("row", name="slow-1.shop")).to_contain_text("STALE")
        await expect(page.get_by_role("row", name="web-1.shop").locator("td").first).to_have_text("SYNCED")

        await page.get_by_role("link", name="Problems").click()
        await expect(page.get_by_text(f"{folder}/bad.yaml:8")).to_be_visible()
        await page.get_by_label("Filter").fill("refused")
        await page.get_by_role("button", name="Show").click()
        await expect(page.locator(".problem")).to_have_count(1)
        await expect(page.locator(".problem")).to_contain_text("no such field")

        # What was written in a manifest is text on a page.
        await page.goto("/problems")
        await expect(page.get_by_text(_HOSTILE).first).to_be_visible()
        assert await page.locator("main img").count() == 0


async def test_the_mesh_is_a_graph_of_who_asks_whom(folder: Path) -> None:
    async with browsed(folder) as (running, chromium), opened(chromium, running.at.admin) as page:
        await page.goto("/")
        edges = [[cell.strip() for cell in await row.locator("th, td").all_inner_texts()] for row in await page.locator("tbody tr").all()]
        drawn = await page.locator("svg .node text:first-of-type").all_text_contents()
        await page.get_by_role("searchbox").fill("details")
        await page.get_by_role("button", name="Show").click()
        await expect(page.locator("tbody tr")).to_have_count(2)

    assert edges[0][:4] == ["client-1.edge", "web.shop", "41.2/s", "100 %"]
    assert [row[:4] for row in edges if row[1] == "ratings.shop"] == [["reviews.shop", "ratings.shop", "26.0/s", "76.54 %"]]
    assert edges[-1][:3] == ["ratings.shop", "details.shop", "0.0/s"]
    assert {row[5] for row in edges} == {"no mTLS"}
    assert sorted(drawn) == ["client-1", "details", "ratings", "reviews", "web"]


async def test_a_proxy_its_resources_and_their_origins_are_a_click_away(folder: Path) -> None:
    async with browsed(folder) as (running, chromium), opened(chromium, running.at.admin) as page:
        await page.goto("/proxies")
        await page.get_by_role("link", name="reviews-1.shop").click()
        await expect(page.get_by_text("no such field")).to_be_visible()
        await page.goto("/proxies?q=web-1")
        await page.get_by_role("link", name="web-1.shop").click()
        await page.get_by_role("link", name="Clusters").click()
        await page.get_by_role("link", name=_CLUSTER).click()
        await expect(page.locator(".origins")).to_contain_text(f"Service/shop/reviews spec.ports {folder}/shop.yaml")
        await expect(page.locator("pre")).to_contain_text('"connectTimeout"')


async def test_a_request_is_explained_by_a_form(folder: Path) -> None:
    async with browsed(folder) as (running, chromium), opened(chromium, running.at.admin) as page:
        await page.goto("/explain")
        await page.get_by_label("Proxy").select_option("web-1.shop")
        await page.get_by_label("URL").fill("reviews.shop/old/1")
        await page.get_by_text("Headers, and who asks").click()
        await page.get_by_label("Headers, one a line").fill("end-user: jason\nx-more: 1")
        await page.get_by_role("button", name="Explain").click()
        await expect(page.get_by_role("heading", name="GET http://reviews.shop/old/1")).to_be_visible()
        await expect(page.get_by_text("spec.http[1]").first).to_be_visible()
        await expect(page.get_by_text(f"{folder}/routes.yaml").first).to_be_visible()
        await page.get_by_label("URL").fill("ftp://reviews")
        await page.get_by_role("button", name="Explain").click()
        await expect(page.get_by_role("alert")).to_contain_text("expected a URL as")


async def test_what_is_pasted_is_planned_and_not_applied(folder: Path) -> None:
    moved = _ROUTES.replace(
        '"timeout": "3s", "route": [{"destination": {"host": "reviews"}}]', '"route": [{"destination": {"host": "ratings"}}]'
    )
    async with browsed(folder) as (running, chromium), opened(chromium, running.at.admin) as page:
        before = await running.get("/v1/objects")
        await page.goto("/plan")
        await page.get_by_label("Manifests").fill(moved)
        await page.get_by_role("button", name="Plan").click()
        await expect(page.get_by_role("heading", name="1 object: VirtualService/shop/reviews")).to_be_visible()
        await expect(page.get_by_role("row").filter(has_text="ratings").first).to_contain_text("reviews")
        assert [barrier for barrier in await barriers(page) if barrier] == []
        await picture(page, "plan-made")
        await page.get_by_label("Manifests").fill("kind: [")
        await page.get_by_role("button", name="Plan").click()
        await expect(page.get_by_role("alert")).to_be_visible()
        assert await running.get("/v1/objects") == before


async def test_a_slider_leads_through_what_has_changed(folder: Path) -> None:
    async with browsed(folder) as (running, chromium), opened(chromium, running.at.admin) as page:
        (folder / "routes.yaml").write_text(_ROUTES.replace('"3s"', '"7s"'))
        await until(partial(_is_remembered, running, 2))
        (folder / "routes.yaml").unlink()
        await until(partial(_is_remembered, running, 3))
        await page.goto("/history")
        await expect(page.locator(".diff .removed").first).to_be_visible()
        await page.get_by_role("slider").press("ArrowLeft")
        await expect(page.get_by_role("heading", name="Change 2")).to_be_visible()
        await expect(page.locator(".diff .added")).to_contain_text('"timeout": "7s"')
        await expect(page.locator(".diff .removed")).to_contain_text('"timeout": "3s"')
        assert await barriers(page) == []
        await picture(page, "history-slider")
        await page.get_by_label("What is told of it").select_option("now")
        await expect(page.get_by_role("heading", name="Since change 2")).to_be_visible()
        await expect(page.locator("main")).to_contain_text("removed VirtualService/shop/reviews")


async def _is_remembered(running: Running, number: int) -> bool:
    rows = await running.json("/v1/history")
    return isinstance(rows, list) and bool(rows) and rows[0]["number"] >= number


async def test_keys_lead_everywhere(folder: Path) -> None:
    async with browsed(folder) as (running, chromium), opened(chromium, running.at.admin) as page:
        await page.goto("/proxies")
        await page.keyboard.press("Tab")
        await expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("main")).to_be_focused()
        await page.keyboard.press("/")
        await expect(page.get_by_label("Filter")).to_be_focused()
        await page.keyboard.type("web-1")
        await page.keyboard.press("Enter")
        await expect(page.locator("tbody tr")).to_have_count(1)
        await page.keyboard.press("?")
        await expect(page.get_by_role("dialog")).to_be_visible()
        await page.keyboard.press("Escape")
        await page.keyboard.type("ge")
        await expect(page).to_have_title("Problems · Navarch")


async def test_a_page_shows_what_changes(folder: Path) -> None:
    async with browsed(folder) as (running, chromium), opened(chromium, running.at.admin) as page:
        await page.goto("/problems")
        await expect(page.get_by_text("bad.yaml").first).to_be_visible()
        (folder / "bad.yaml").unlink()
        await expect(page.get_by_text("bad.yaml")).to_have_count(0, timeout=60_000)


async def test_pages_are_for_everybody_in_light_and_dark_and_on_a_phone(folder: Path) -> None:
    found = []
    async with browsed(folder) as (running, chromium):
        for look, size, scheme in _LOOKS:
            async with opened(chromium, running.at.admin, size=size, scheme=scheme) as page:
                for name, path in _PAGES.items():
                    await page.goto(path)
                    await picture(page, f"{name}-{look}")
                    found += [f"{name} {look}: {barrier}" for barrier in await barriers(page)]
                    wide = await page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
                    found += [f"{name} {look}: {wide} px too wide"] if wide > 0 else []

    assert found == []


async def test_what_a_page_may_do_is_written_in_its_head(folder: Path) -> None:
    async with control_plane(folder) as running, httpx.AsyncClient(base_url=f"http://{running.at.admin}") as client:
        answers = [await client.get(path) for path in ("/", "/problems", "/explain", "/assets/page.js", "/assets/style.css")]
        again = await client.get("/problems", headers={"If-None-Match": answers[1].headers["etag"]})
        by_other_names = {(await client.get(path, headers={"Host": "evil.example"})).status_code for path in _PAGES.values()}
        nobody = await client.get("/proxies/<b>nobody")
        missing = (await client.get("/assets/..%2f..%2fpages.py")).status_code

    policies = {answer.headers["content-security-policy"] for answer in answers}
    assert len(policies) == 1
    assert "unsafe" not in policies.pop()
    assert [answer.status_code for answer in answers] == [200] * len(answers)
    assert not any("<script>" in answer.text or " style=" in answer.text or " onclick=" in answer.text for answer in answers)
    assert again.status_code == 304
    assert by_other_names == {421}
    assert (missing, nobody.status_code, nobody.headers["content-security-policy"]) == (
        404,
        404,
        answers[0].headers["content-security-policy"],
    )
    assert "&lt;b&gt;nobody" in nobody.text
