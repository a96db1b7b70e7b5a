"""A real browser without a window: Chromium as the system has it, driven by Playwright; what it shows is kept as pictures.

The pictures are in ``.cache/screenshots``, or where NAVARCH_SCREENSHOTS says.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import AsyncIterator, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Literal

import pytest
from playwright.async_api import Browser, Page, ViewportSize, async_playwright

SCREENSHOTS = Path(os.environ.get("NAVARCH_SCREENSHOTS", ".cache/screenshots"))
DESK: ViewportSize = {"width": 1280, "height": 800}
PHONE: ViewportSize = {"width": 390, "height": 844}
Scheme = Literal["light", "dark"]
_HOW = "there is no Chromium: install it (Debian: apt-get install chromium), or have NAVARCH_CHROMIUM name one"


def chromium() -> str | None:
    """Return where Chromium is."""
    return os.environ.get("NAVARCH_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")


@contextlib.asynccontextmanager
async def browser() -> AsyncIterator[Browser]:
    """Start Chromium until the block ends; where there is none, the test says so and does not run."""
    program = chromium()
    if program is None:
        pytest.skip(_HOW)
    async with async_playwright() as playwright:
        # As root, and in a container, Chromium's own sandbox does not start.
        started = await playwright.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-dev-shm-usage"])
        try:
            yield started
        finally:
            await started.close()


@contextlib.asynccontextmanager
async def opened(browser: Browser, address: str, *, size: ViewportSize = DESK, scheme: Scheme = "light") -> AsyncIterator[Page]:
    """Open a window of ``size`` for the pages at ``address``; a mistake of a script, or what the page's policy forbids, fails the block."""
    context = await browser.new_context(base_url=f"http://{address}", viewport=size, color_scheme=scheme, reduced_motion="reduce")
    page = await context.new_page()
    mistakes: list[str] = []
    page.on("pageerror", lambda error: mistakes.append(str(error)))
    page.on("console", lambda message: mistakes.append(message.text) if message.type == "error" else None)
    try:
        yield page
    finally:
        await context.close()
    assert not mistakes, mistakes


async def picture(page: Page, name: str) -> None:
    """Keep what ``page`` shows as the picture ``name``."""
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    await page.screenshot(path=SCREENSHOTS / f"{name}.png", full_page=True)


async def barriers(page: Page) -> Sequence[str]:
    """Return what on ``page`` keeps people from using it, as axe finds it: serious and critical findings."""
    await page.evaluate(files("axe_playwright_python").joinpath("axe.min.js").read_text())
    found = await page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    return [
        f"{violation['id']}: {node['html']}"
        for violation in found["violations"]
        if violation["impact"] in {"serious", "critical"}
        for node in violation["nodes"]
    ]
