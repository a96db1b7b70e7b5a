"""Long work on the event loop gives way to others."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from controlplane.slices import LoopShare, SendTurns, next_turn


async def test_however_many_work_one_of_them_has_a_slice_in_a_round() -> None:
    slices, held = [0], [0]

    async def work() -> None:
        for _ in range(50):
            slices[0] += 1
            await next_turn()

    async def others() -> None:
        while True:
            before = slices[0]
            await asyncio.sleep(0)
            held[0] = max(held[0], slices[0] - before)

    working = [asyncio.create_task(work()) for _ in range(4)]
    await asyncio.sleep(0)  # the first slices of all begin at once
    task = asyncio.create_task(others())
    await asyncio.gather(*working)
    task.cancel()

    assert (slices[0], held[0]) == (200, 1)


async def test_who_gives_up_waiting_keeps_nobody_from_a_turn() -> None:
    waiting = [asyncio.create_task(next_turn()) for _ in range(3)]
    await asyncio.sleep(0)

    waiting[0].cancel()
    await asyncio.gather(*waiting, return_exceptions=True)

    assert [each.cancelled() for each in waiting] == [True, False, False]


async def test_a_share_of_the_loop_has_one_short_slice_at_a_time_and_rests_after_it(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    log: list[str] = []
    rest = asyncio.sleep

    async def sleep(seconds: float) -> None:
        log.append(f"rest {seconds * 1000:.0f} ms")
        for _ in range(5):  # so that others could begin a slice meanwhile, if they might
            await rest(0)

    monkeypatch.setattr("controlplane.slices.time.perf_counter", lambda: clock[0])
    monkeypatch.setattr("controlplane.slices.asyncio.sleep", sleep)

    def pieces(name: str) -> Iterator[tuple[str, ...]]:
        for number in range(4):
            clock[0] += 0.0015
            log.append(name)
            yield (f"{name}{number}",) if number % 2 else ()

    share = LoopShare()
    found = await asyncio.gather(share.collected(pieces("a")), share.collected(pieces("b")))
    await share.turn()

    assert list(found) == [["a1", "a3"], ["b1", "b3"]]
    assert log == ["a", "a", "rest 9 ms", "b", "b", "rest 9 ms"] * 2 + ["rest 3 ms", "rest 3 ms", "rest 3 ms"]


async def test_senders_that_are_woken_together_take_turns_a_slice_long_and_each_has_one(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr("controlplane.slices.time.perf_counter", lambda: clock[0])
    turns, loop = SendTurns(), asyncio.get_running_loop()
    rounds: list[list[int]] = [[]]
    waiters = [loop.create_future() for _ in range(100)]

    async def sender(number: int) -> None:
        await waiters[number]
        clock[0] += 0.002  # 5 in a slice, once it is known
        rounds[-1].append(number)

    tasks = [asyncio.create_task(sender(number)) for number in range(100)]
    await asyncio.sleep(0)
    await asyncio.wait_for(turns.all_woken(), 60)
    for batch in (range(10), range(10, 100)):
        for number in batch:
            turns.wake(waiters[number])
        all_woken = asyncio.create_task(turns.all_woken())
        while not all(tasks[number].done() for number in batch):
            rounds.append([])
            assert not all_woken.done()
            await asyncio.sleep(0)
        await asyncio.wait_for(all_woken, 60)

    sizes = [len(each) for each in rounds if each]
    assert [number for each in rounds for number in each] == list(range(100))
    assert sizes[0] == 10
    assert max(sizes[2:]) <= 20
    assert sizes[-2] == 5


async def test_a_sender_that_gave_up_waiting_takes_nobodys_turn() -> None:
    turns, loop = SendTurns(), asyncio.get_running_loop()
    gone, there = loop.create_future(), loop.create_future()
    turns.wake(gone)
    turns.wake(there)
    gone.cancel()

    await asyncio.wait_for(there, 60)

    assert gone.cancelled()
