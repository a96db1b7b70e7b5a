"""Long work on the event loop gives way to others."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from controlplane.slices import collected, next_turn


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
    assert turns[0] >= 25  # 0.3 s of work, at most 12 ms of it at a time


async def test_however_many_work_one_of_them_has_a_slice_in_a_round(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds, held = [0.0], [0.0]
    monkeypatch.setattr("controlplane.slices.time.perf_counter", lambda: seconds[0])

    def pieces() -> Iterator[tuple[int]]:
        for number in range(50):
            seconds[0] += 0.006
            yield (number,)

    async def others() -> None:
        while True:
            since = seconds[0]
            await asyncio.sleep(0)
            held[0] = max(held[0], seconds[0] - since)

    working = [asyncio.create_task(collected(pieces())) for _ in range(4)]
    await asyncio.sleep(0)  # the first slices of all begin at once
    task = asyncio.create_task(others())
    found = await asyncio.gather(*working)
    task.cancel()

    assert found == [list(range(50))] * 4
    assert held[0] <= 0.0121


async def test_who_gives_up_waiting_keeps_nobody_from_a_turn() -> None:
    waiting = [asyncio.create_task(next_turn()) for _ in range(3)]
    await asyncio.sleep(0)

    waiting[0].cancel()
    await asyncio.gather(*waiting, return_exceptions=True)

    assert [each.cancelled() for each in waiting] == [True, False, False]
