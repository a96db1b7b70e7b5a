"""Long work on the event loop gives way to others."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from controlplane.slices import collected


async def test_others_get_a_turn_after_each_slice_and_nothing_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds, turns = [0.0], [0]
    monkeypatch.setattr("controlplane.slices.time.perf_counter", lambda: seconds[0])

    def pieces() -> Iterator[tuple[int, ...]]:
        for number in range(100):
            seconds[0] += 0.003
            yield (number,) if number % 2 else ()

    async def others() -> None:
        while True:
            turns[0] += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(others())
    found = await collected(pieces())
    task.cancel()

    assert found == list(range(1, 100, 2))
    assert turns[0] == 25  # 0.3 s of work, at most 12 ms of it at a time
