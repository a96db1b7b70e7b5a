"""Whose review is worked on next, and who makes room for whom."""

from __future__ import annotations

import asyncio

import pytest

from controlplane.admin import open_connections
from controlplane.admin.open_connections import OpenConnections
from controlplane.webhooks import review_queue
from controlplane.webhooks.bodies import BadWebhookRequest
from controlplane.webhooks.review_queue import ReviewQueue
from tests.support.waiting import until


async def test_each_peer_has_its_turn_however_many_another_wants() -> None:
    queue, order = ReviewQueue(1), list[str]()
    done = asyncio.Event()

    async def first() -> None:
        async with queue.turn("first"):
            await done.wait()

    async def one(peer: str) -> None:
        async with queue.turn(peer):
            order.append(peer)
            await asyncio.sleep(0)

    tasks = [asyncio.create_task(first())]
    await asyncio.sleep(0)
    tasks += [asyncio.create_task(one(peer)) for peer in (*["greedy"] * 50, "modest", "other")]
    await asyncio.sleep(0)
    done.set()
    await asyncio.gather(*tasks)

    assert order[:3] == ["greedy", "modest", "other"]
    assert order[3:] == ["greedy"] * 49


async def test_one_peer_may_wait_only_so_often_and_the_others_still_may(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(review_queue, "_WAITING", 3)
    queue, done = ReviewQueue(1), asyncio.Event()

    async def one(peer: str) -> str:
        try:
            async with queue.turn(peer):
                await done.wait()
        except BadWebhookRequest as error:
            return f"{error.status} {error}"
        return "done"

    tasks = [asyncio.create_task(one("greedy")) for _ in range(6)] + [asyncio.create_task(one("modest"))]
    await until(lambda: sum(task.done() for task in tasks) == 2)
    done.set()
    said = await asyncio.gather(*tasks)

    assert sorted(said) == ["429 expected at most 3 reviews at once from one address"] * 2 + ["done"] * 5


async def test_whoever_gives_up_leaves_no_trace() -> None:
    queue, done, through = ReviewQueue(1), asyncio.Event(), list[str]()

    async def one(name: str) -> None:
        async with queue.turn(name):
            through.append(name)
            await done.wait()

    tasks = {name: asyncio.create_task(one(name)) for name in ("a", "b", "c")}
    await until(lambda: through == ["a"])
    tasks["b"].cancel()
    await asyncio.wait([tasks["b"]])
    done.set()
    await asyncio.gather(tasks["a"], tasks["c"])

    assert through == ["a", "c"]


async def test_as_many_as_may_be_at_once_are() -> None:
    queue, done, now = ReviewQueue(2), asyncio.Event(), list[int]()

    async def one(number: int) -> None:
        async with queue.turn("a"):
            now.append(number)
            await done.wait()

    tasks = [asyncio.create_task(one(number)) for number in range(4)]
    await until(lambda: len(now) == 2)
    assert now == [0, 1]
    done.set()
    await asyncio.gather(*tasks)
    assert now == [0, 1, 2, 3]


class Connection:
    """A connection that does as told."""

    def __init__(self, *, is_answered: bool = False) -> None:
        self.is_answered = is_answered
        self.hung_up = False

    def hang_up(self) -> None:
        self.hung_up = True


def test_the_oldest_that_has_asked_for_nothing_makes_room_for_who_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(open_connections, "PER_PEER", 3)
    connections, asking, idle = OpenConnections(), Connection(is_answered=True), [Connection() for _ in range(3)]

    added = [connections.add(each, "a") for each in (asking, *idle)]
    of_another = connections.add(Connection(), "b")

    assert (added, of_another) == ([True] * 4, True)
    assert [each.hung_up for each in (asking, *idle)] == [False, True, False, False]


def test_where_all_are_answered_there_is_no_room_for_another_of_the_peer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(open_connections, "PER_PEER", 2)
    connections, busy = OpenConnections(), [Connection(is_answered=True) for _ in range(2)]

    assert [connections.add(each, "a") for each in busy] == [True, True]
    assert connections.add(Connection(), "a") is False
    connections.remove(busy[0])
    assert connections.add(Connection(), "a") is True


def test_many_peers_have_only_so_many_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(open_connections, "TOTAL", 3)
    connections, found = OpenConnections(), [Connection() for _ in range(5)]

    assert all(connections.add(each, f"10.0.0.{number}") for number, each in enumerate(found))
    assert [each.hung_up for each in found] == [True, True, False, False, False]
