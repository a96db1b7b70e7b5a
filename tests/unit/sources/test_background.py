"""The event loop gets its turn quickly while another thread works for long, and only then."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Iterator

import pytest

from controlplane.background import in_background

USUAL_S = 0.03


@pytest.fixture(autouse=True)
def _usual() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(USUAL_S)
    yield
    sys.setswitchinterval(before)


async def test_turns_are_short_as_long_as_any_thread_works() -> None:
    first, second = threading.Event(), threading.Event()
    working = [asyncio.create_task(in_background(event.wait)) for event in (first, second)]
    await asyncio.sleep(0)
    both = sys.getswitchinterval()
    first.set()
    await working[0]
    one = sys.getswitchinterval()
    second.set()
    await working[1]

    assert both == one == pytest.approx(0.002)
    assert sys.getswitchinterval() == pytest.approx(USUAL_S)


async def test_what_the_work_raises_comes_back_and_ends_it() -> None:
    def fails(reason: str) -> None:
        raise ValueError(reason)

    with pytest.raises(ValueError, match="why"):
        await in_background(fails, "why")

    assert sys.getswitchinterval() == pytest.approx(USUAL_S)
