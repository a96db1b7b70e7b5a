"""Who calls very often waits, and keeps the places of its connection meanwhile."""

from __future__ import annotations

import asyncio

import pytest

from controlplane.serve.authn.call_rate import CallRate

PEER, OTHER = "ipv4:10.0.0.7:41202", "ipv4:10.0.0.7:41203"


async def waiting(rate: CallRate, peer: str, calls: int) -> list[asyncio.Task[None]]:
    """Return those of so many ``calls`` of ``peer`` that are not let go on at once."""
    tasks = [asyncio.create_task(rate.wait(peer)) for _ in range(calls)]
    await asyncio.sleep(0)
    return [task for task in tasks if not task.done()]


async def test_calls_beyond_the_rate_wait_and_those_of_other_connections_do_not() -> None:
    rate = CallRate(lambda: 0.0)

    many, few = await waiting(rate, PEER, 210), await waiting(rate, OTHER, 200)

    assert (len(many), len(few)) == (10, 0)
    for task in many:
        task.cancel()
        await asyncio.sleep(0)
        task.cancel()


async def test_a_call_that_is_reset_has_its_place_until_it_would_have_gone_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("controlplane.serve.authn.call_rate._WAIT_S", 0.05)
    rate, loop = CallRate(lambda: 0.0), asyncio.get_running_loop()
    begun = loop.time()
    [reset] = await waiting(rate, PEER, 201)

    reset.cancel()
    await asyncio.wait([reset])

    assert reset.cancelled()
    assert loop.time() - begun >= 0.05


async def test_what_is_cancelled_twice_ends_at_once() -> None:
    rate = CallRate(lambda: 0.0)
    [reset] = await waiting(rate, PEER, 201)

    reset.cancel()
    await asyncio.sleep(0)
    reset.cancel()
    await asyncio.wait([reset])

    assert reset.cancelled()
