"""List and watch against an API server that misbehaves as told."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import deque
from collections.abc import AsyncIterator, Iterable

import pytest

from controlplane.kube.errors import ApiServerUnreachable, StatusError
from controlplane.kube.reflector import Backoff, Changed, Reflector, ReflectorTiming, Replaced, ResourceMissing
from controlplane.kube.resources import ApiResource
from controlplane.untyped import Json
from tests.support.waiting import until

SERVICES = ApiResource("", "v1", "services", "Service")
QUICK = ReflectorTiming(watch_s=(5.0, 5.0), slack_s=1.0, backoff_s=(0.01, 0.04), missing_s=0.01)


def item(name: str, version: int, uid: str = "u") -> Json:
    return {"metadata": {"name": name, "namespace": "n", "resourceVersion": str(version), "uid": f"{name}-{uid}"}}


def event(kind: str, value: Json) -> bytes:
    return json.dumps({"type": kind, "object": value}).encode()


def listed(*items: Json, version: int, more: str = "") -> Json:
    return {"metadata": {"resourceVersion": str(version), "continue": more}, "items": list(items)}


class Scripted:
    """An API server that answers lists and watches in the order given; a watch without a script stays open."""

    def __init__(self, lists: Iterable[Json | Exception], watches: Iterable[Iterable[tuple[bytes, ...] | Exception]]) -> None:
        self._lists = deque(lists)
        self._watches = deque(list(each) for each in watches)
        self.listed: list[dict[str, str]] = []
        self.watched: list[str] = []

    async def get(self, path: str, **query: str) -> Json:
        del path
        self.listed.append(query)
        answer = self._lists.popleft()
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def wait_until_reachable(self) -> None:
        await asyncio.Event().wait()

    async def lines(self, path: str, *, idle_s: float, **query: str) -> AsyncIterator[tuple[bytes, ...]]:
        del path, idle_s
        self.watched.append(query["resourceVersion"])
        if not self._watches:
            await asyncio.Event().wait()
        for each in self._watches.popleft():
            if isinstance(each, Exception):
                raise each
            yield each
        if not self._watches:
            await asyncio.Event().wait()


class Mirror:
    """What somebody who listens to a reflector knows."""

    def __init__(self) -> None:
        self.there: dict[str, int] = {}
        self.batches: list[Replaced | Changed] = []

    def take(self, news: Replaced | Changed) -> None:
        self.batches.append(news)
        if isinstance(news, Replaced):
            self.there.clear()
        events = [(True, each) for each in news.items] if isinstance(news, Replaced) else news.events
        for is_there, value in events:
            metadata = value["metadata"]
            assert isinstance(metadata, dict)
            if is_there:
                self.there[metadata["name"]] = int(metadata["resourceVersion"])
            else:
                self.there.pop(metadata["name"], None)


@contextlib.asynccontextmanager
async def mirrored(api: Scripted) -> AsyncIterator[Mirror]:
    mirror = Mirror()
    reflector = Reflector(api, SERVICES, QUICK, lambda: 0.5)
    task = asyncio.create_task(reflector.run(mirror.take))
    yield mirror
    task.cancel()
    await asyncio.wait([task])


async def test_all_that_is_there_to_be_read_is_one_batch() -> None:
    lines = (event("ADDED", item("b", 3)), event("MODIFIED", item("a", 4)), event("DELETED", item("b", 5)))
    async with mirrored(Scripted([listed(item("a", 1), version=2)], [[lines]])) as mirror:
        await until(lambda: mirror.there == {"a": 4})

        assert len(mirror.batches) == 2


async def test_a_list_comes_in_pages_and_begins_again_where_they_took_too_long() -> None:
    gone = StatusError(410, "Expired", "the continue token is too old")
    pages: list[Json | Exception] = [
        listed(item("a", 1), version=2, more="x"),
        gone,
        listed(item("a", 1), version=3, more="y"),
        listed(item("b", 2), version=3),
    ]
    api = Scripted(pages, [])
    async with mirrored(api) as mirror:
        await until(lambda: api.watched == ["3"])

        assert mirror.there == {"a": 1, "b": 2}
        assert [query.get("continue") for query in api.listed] == [None, "x", None, "y"]


@pytest.mark.parametrize(
    "gone",
    [StatusError(410, "Expired", "too old"), (event("ERROR", {"code": 410, "reason": "Expired", "message": "too old"}),)],
    ids=["s06_as_a_status", "s07_in_the_stream"],
)
async def test_410_leads_to_one_list_and_what_was_deleted_meanwhile_is_gone(gone: Exception | tuple[bytes, ...]) -> None:
    api = Scripted([listed(item("a", 1), item("b", 1), version=2), listed(item("a", 1), version=9)], [[gone]])
    async with mirrored(api) as mirror:
        await until(lambda: mirror.there == {"a": 1})

        assert len(api.listed) == 2
        assert api.watched[:2] == ["2", "9"]
        assert not any(isinstance(each, Replaced) and not each.items for each in mirror.batches)


@pytest.mark.parametrize(
    "fault",
    [
        StatusError(429, "TooManyRequests", "slow down", 0.02),
        StatusError(500, "InternalError", "oops"),
        ApiServerUnreachable("reset by peer"),
    ],
    ids=["s09_too_many", "s09_internal", "s05_reset"],
)
async def test_other_faults_of_a_watch_lead_to_no_list(fault: Exception) -> None:
    first = (event("ADDED", item("b", 5)),)
    api = Scripted([listed(item("a", 1), version=2)], [[first, fault], [fault], [(event("ADDED", item("c", 6)),)]])
    async with mirrored(api) as mirror:
        await until(lambda: mirror.there == {"a": 1, "b": 5, "c": 6})

        assert len(api.listed) == 1
        assert api.watched == ["2", "5", "5"]


@pytest.mark.parametrize("line", [b'{"type":"ADDED","obj', b"\x00\xff", b"[]"], ids=["cut", "garbage", "no_object"])
async def test_s10_a_broken_line_costs_the_connection_and_nothing_else(line: bytes) -> None:
    good = (event("ADDED", item("b", 5)),)
    api = Scripted([listed(item("a", 1), version=2)], [[good, (line,)], [(event("DELETED", item("a", 6)),)]])
    async with mirrored(api) as mirror:
        await until(lambda: mirror.there == {"b": 5})

        assert len(api.listed) == 1
        assert api.watched == ["2", "5"]


async def test_s11_s12_old_news_is_no_news_and_a_name_may_have_a_successor() -> None:
    lines = (
        event("MODIFIED", item("a", 7)),
        event("MODIFIED", item("a", 5)),  # replayed
        event("BOOKMARK", item("", 8)),
        event("DELETED", item("a", 9)),
        event("ADDED", item("a", 10, uid="other")),
        event("DELETED", item("a", 9)),  # replayed: of the one before
    )
    api = Scripted([listed(item("a", 1), version=2)], [[lines, ApiServerUnreachable("reset")]])
    async with mirrored(api) as mirror:
        await until(lambda: len(api.watched) == 2)

        assert mirror.there == {"a": 10}
        [_, news] = mirror.batches
        assert isinstance(news, Changed)
        assert len(news.events) == 3


async def test_what_is_not_there_is_missing() -> None:
    api = Scripted([StatusError(404, "NotFound", "the server could not find the requested resource")], [])

    with pytest.raises(ResourceMissing):
        await Reflector(api, SERVICES, QUICK, lambda: 0.5).run(lambda _: None)


def test_waits_double_up_to_a_limit_and_begin_small_again_after_a_good_while() -> None:
    backoff = Backoff(ReflectorTiming(backoff_s=(1.0, 8.0), reset_s=100.0), lambda: 0.5)

    waits = [backoff.wait_s(good_s) for good_s in (0, 1, 2, 3, 4, 200)]

    assert waits == [1, 2, 4, 8, 8, 1]
