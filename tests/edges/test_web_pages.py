"""The operator's pages, in a real browser: what they show, by keys alone, in light and dark, on a desk and on a phone."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from playwright.async_api import Browser, ViewportSize, expect

from controlplane.envoy.type_urls import CDS, EDS, LDS
from tests.support.browser import DESK, PHONE, Scheme, barriers, browser, opened, picture
from tests.support.control_plane import Running, control_plane, delta, delta_request, next_delta
from tests.support.manifests import document, selecting, service, workload
from tests.support.refusing_client import refuse

_REFUSES = "sidecar~10.0.0.2~reviews-1.shop~shop.svc.cluster.local"
_CLUSTER = "outbound|80||reviews.shop.svc.cluster.local"
_HOSTILE = '"><img src=x onerror=alert(1)>'  # a host, which Problems quote
_PAGES = ("/proxies", "/problems")
_LOOKS: tuple[tuple[str, ViewportSize, Scheme], ...] = (("light", DESK, "light"), ("dark", DESK, "dark"), ("phone", PHONE, "light"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "shop.yaml").write_text(f"{selecting('reviews', 'reviews')}---\n{workload('r1', 'reviews')}")
    (tmp_path / "bad.yaml").write_text(service("bad", "'none'"))
    hostile = document("VirtualService", "hostile", "shop", hosts=[_HOSTILE], http=[{"route": [{"destination": {"host": _HOSTILE}}]}])
    (tmp_path / "hostile.yaml").write_text(hostile)
    return tmp_path


@contextlib.asynccontextmanager
async def mesh(folder: Path) -> AsyncIterator[Running]:
    """Serve ``folder`` to a proxy that accepts, one that never answers, and one that refuses a cluster."""
    async with control_plane(folder) as running, contextlib.AsyncExitStack() as calls:
        for number, (name, types) in enumerate((("web-1", (LDS, CDS, EDS)), ("slow-1", (CDS,)), (_REFUSES, ()))):
            call = await calls.enter_async_context(delta(running.at.xds))
            if name == _REFUSES:
                await refuse(call, {"id": name}, CDS, _CLUSTER, "no such field")
                continue
            for type_url in types:
                names = (_CLUSTER,) if type_url == EDS else ()
                node = f"sidecar~10.0.1.{number}~{name}.shop~shop.svc.cluster.local"
                await call.write(delta_request(type_url, node=node, names=names))
                response = await next_delta(call)
                if name != "slow-1":
                    await call.write(delta_request(type_url, nonce=response.nonce))
        yield running


@contextlib.asynccontextmanager
async def shown(folder: Path) -> AsyncIterator[tuple[Running, Browser]]:
    async with browser() as chromium, mesh(folder) as running:
        yield running, chromium


async def test_pages_show_proxies_and_problems(folder: Path) -> None:
    async with shown(folder) as (running, chromium), opened(chromium, running.at.admin) as page:
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


async def test_keys_lead_everywhere(folder: Path) -> None:
    async with shown(folder) as (running, chromium), opened(chromium, running.at.admin) as page:
        await page.goto("/proxies")
        await page.keyboard.press("Tab")
        await expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("main")).to_be_focused()
        await page.keyboard.press("/")
        await expect(page.get_by_label("Filter")).to_be_focused()
        await page.keyboard.type("web")
        await page.keyboard.press("Enter")
        await expect(page.locator("tbody tr")).to_have_count(1)
        await page.keyboard.press("?")
        await expect(page.get_by_role("dialog")).to_be_visible()
        await page.keyboard.press("Escape")
        await page.keyboard.type("ge")
        await expect(page).to_have_title("Problems · Navarch")


async def test_a_page_shows_what_changes(folder: Path) -> None:
    async with shown(folder) as (running, chromium), opened(chromium, running.at.admin) as page:
        await page.goto("/problems")
        await expect(page.get_by_text("bad.yaml").first).to_be_visible()
        (folder / "bad.yaml").unlink()
        await expect(page.get_by_text("bad.yaml")).to_have_count(0, timeout=60_000)


async def test_pages_are_for_everybody_in_light_and_dark_and_on_a_phone(folder: Path) -> None:
    found = []
    async with shown(folder) as (running, chromium):
        for look, size, scheme in _LOOKS:
            async with opened(chromium, running.at.admin, size=size, scheme=scheme) as page:
                for path in _PAGES:
                    await page.goto(path)
                    await picture(page, f"{path.strip('/') or 'mesh'}-{look}")
                    found += [f"{path} {look}: {barrier}" for barrier in await barriers(page)]
                    wide = await page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
                    assert wide <= 0, f"{path} {look} is {wide} px too wide"

    assert found == []


async def test_what_a_page_may_do_is_written_in_its_head(folder: Path) -> None:
    async with control_plane(folder) as running, httpx.AsyncClient(base_url=f"http://{running.at.admin}") as client:
        answers = [await client.get(path) for path in (*_PAGES, "/assets/page.js", "/assets/style.css")]
        again = await client.get("/problems", headers={"If-None-Match": answers[1].headers["etag"]})
        by_other_names = [(await client.get(path, headers={"Host": "evil.example"})).status_code for path in _PAGES]
        missing = (await client.get("/assets/..%2f..%2fpages.py")).status_code

    policies = {answer.headers["content-security-policy"] for answer in answers}
    assert len(policies) == 1
    assert "unsafe" not in policies.pop()
    assert [answer.status_code for answer in answers] == [200] * len(answers)
    assert not any("<script>" in answer.text or " style=" in answer.text or " onclick=" in answer.text for answer in answers)
    assert again.status_code == 304
    assert by_other_names == [421] * len(_PAGES)
    assert missing == 404
