"""Keys of issuers over time: when they are fetched, how long they are good, and who waits for them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise

from controlplane.app.fetched import jwks as module
from controlplane.sources.fetched.client import Unreachable
from controlplane.sources.fetched.refresh import Fetched, RefreshInputs, RefreshTiming, redacted_url

A, B = "https://a.example/keys", "https://b.example/keys"
DOWN = Unreachable("nobody is there")


@dataclass
class Place:
    """A clock that moves when it is told to, issuers that answer what is put there, and what was delivered."""

    answers: dict[str, str | Exception] = field(default_factory=dict)
    asked: list[tuple[str, float]] = field(default_factory=list)
    timeouts: list[int | None] = field(default_factory=list)
    told: dict[str, Fetched[str]] = field(default_factory=dict)
    news: int = 0
    now: float = 0.0
    chance: float = 0.0
    sleepers: list[tuple[float, asyncio.Event]] = field(default_factory=list)

    async def fetch(self, uri: str, timeout_ms: int | None) -> str:
        self.asked.append((uri, self.now))
        self.timeouts.append(timeout_ms)
        answer = self.answers[uri]
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def sleep(self, seconds: float) -> None:
        over = asyncio.Event()
        self.sleepers.append((self.now + seconds, over))
        await over.wait()

    def deliver(self, keys: Mapping[str, Fetched[str]]) -> None:
        self.told.update(keys)
        self.news += 1

    async def pass_by(self, seconds: float) -> None:
        """Let ``seconds`` pass: everybody wakes at their time."""
        end = self.now + seconds
        await self.rest()
        while due := [each for each in self.sleepers if each[0] <= end]:
            first = min(due, key=lambda each: each[0])
            self.sleepers.remove(first)
            self.now = max(self.now, first[0])
            first[1].set()
            await self.rest()
        self.now = end

    async def rest(self) -> None:
        """Let everybody do what can be done now."""
        for _ in range(50):
            await asyncio.sleep(0)


@contextlib.asynccontextmanager
async def kept(place: Place, timing: RefreshTiming | None = None) -> AsyncIterator[module.JwksRefresher]:
    keeper = module.JwksRefresher(
        module.KEYS, RefreshInputs(fetch=place.fetch, clock=lambda: place.now, sleep=place.sleep, random=lambda: place.chance), timing
    )
    task = asyncio.create_task(keeper.run(place.deliver))
    try:
        yield keeper
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def test_keys_are_fetched_when_they_are_wanted_then_every_twenty_minutes_and_forgotten_when_nobody_wants_them() -> None:
    place = Place({A: "one", B: "other"})
    async with kept(place) as keeper:
        await place.rest()
        assert (place.asked, keeper.settled) == ([], True)

        keeper.want(dict.fromkeys((A,)))
        assert not keeper.settled
        await place.pass_by(1190)
        keeper.want(dict.fromkeys((A, B)))
        await place.pass_by(1205)
        keeper.want(dict.fromkeys((B,)))
        await place.pass_by(3600)

    assert [at for uri, at in place.asked if uri == A] == [0, 1200]
    assert [at for uri, at in place.asked if uri == B][:3] == [1190, 2390, 3590]
    assert place.told == {A: Fetched(), B: Fetched("other")}


async def test_keys_that_are_the_same_are_not_told_again() -> None:
    place = Place({A: "one"})
    async with kept(place) as keeper:
        keeper.want(dict.fromkeys((A,)))
        await place.pass_by(6000)
        before = place.news
        place.answers[A] = "two"
        await place.pass_by(1200)

    assert (before, place.news) == (2, 3)  # the keys, and that a start waits no longer
    assert place.told == {A: Fetched("two")}


async def test_an_answer_is_waited_for_as_long_as_is_wanted_when_it_is_asked_for() -> None:
    place = Place({A: "one"})
    async with kept(place) as keeper:
        keeper.want({A: 7000})
        await place.pass_by(1)
        keeper.want({A: None})
        await place.pass_by(1200)

    assert place.timeouts == [7000, None]


async def test_addresses_are_asked_at_different_times() -> None:
    place = Place({A: "one"}, chance=0.5)
    async with kept(place) as keeper:
        keeper.want(dict.fromkeys((A,)))
        await place.pass_by(1200)

    assert [at for _, at in place.asked] == [0, 1140]


async def test_a_failure_is_tried_again_soon_then_less_and_less_often() -> None:
    place = Place({A: DOWN}, chance=1.0)
    async with kept(place) as keeper:
        keeper.want(dict.fromkeys((A,)))
        await place.pass_by(1500)
        seen = keeper.states()[A]
        place.answers[A] = "one"
        await place.pass_by(300)

    times = [at for _, at in place.asked]
    assert [after - before for before, after in pairwise(times)] == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300, 300]
    assert (seen.failures, seen.fetched) == (13, Fetched(None, "nobody is there"))
    assert place.told == {A: Fetched("one")}
    assert keeper.outcomes == {"unreachable": 13, "ok": 1}


async def test_the_last_good_keys_stay_for_a_day_and_no_longer() -> None:
    place = Place({A: "one"})
    async with kept(place) as keeper:
        keeper.want(dict.fromkeys((A,)))
        await place.pass_by(1)
        place.answers[A] = DOWN
        await place.pass_by(86_398)
        last = place.told[A]
        await place.pass_by(1)

    assert last == Fetched("one", "nobody is there")
    assert place.told[A] == Fetched(None, "nobody is there")


async def test_a_fault_of_ours_is_a_failure_like_others() -> None:
    place = Place({A: RuntimeError("secret"), B: "other"})
    async with kept(place) as keeper:
        keeper.want(dict.fromkeys((A, B)))
        await place.pass_by(5)

    assert place.told[B] == Fetched("other")
    assert place.told[A].value is None
    assert "secret" not in place.told[A].failure
    assert keeper.outcomes["internal"] > 1


async def test_a_start_waits_until_everything_was_asked_for_once_and_ten_seconds_at_most() -> None:
    place = Place({A: DOWN, B: "other"})
    gate = asyncio.Event()

    async def slow(uri: str, timeout_ms: int | None) -> str:
        if uri == B:
            await gate.wait()
        return await place.fetch(uri, timeout_ms)

    keeper = module.JwksRefresher(module.KEYS, RefreshInputs(fetch=slow, clock=lambda: place.now, sleep=place.sleep, random=lambda: 0.0))
    task = asyncio.create_task(keeper.run(place.deliver))
    keeper.want(dict.fromkeys((A, B)))
    await place.pass_by(9.9)
    before, news = keeper.settled, place.news
    await place.pass_by(0.2)
    after = keeper.settled
    task.cancel()
    await asyncio.wait([task])

    assert (before, after) == (False, True)
    assert place.news > news


async def test_of_too_many_addresses_those_that_are_kept_stay_and_the_others_are_told() -> None:
    place = Place({A: "one", B: "other"})
    keeper = module.JwksRefresher(
        module.KEYS, RefreshInputs(fetch=place.fetch, clock=lambda: place.now, sleep=place.sleep, random=lambda: 0.0)
    )
    many = [f"https://z.example/{number:04}" for number in range(module.KEYS.most)]
    place.answers.update(dict.fromkeys(many, "z"))
    task = asyncio.create_task(keeper.run(place.deliver))
    keeper.want(dict.fromkeys((B,)))
    await place.pass_by(1)
    keeper.want(dict.fromkeys((B, *many)))
    await place.pass_by(60)
    left_out = [uri for uri, keys in place.told.items() if keys.value is None]
    told = place.told[many[-1]].failure
    keeper.want(dict.fromkeys((A,)))
    await place.pass_by(1)
    task.cancel()
    await asyncio.wait([task])

    assert left_out == [many[-1]]
    assert "at most 1000 addresses" in told
    assert {uri for uri, keys in place.told.items() if keys != Fetched()} == {A}


def test_what_is_shown_of_an_address_is_nothing_secret() -> None:
    assert redacted_url("https://user:secret@keys.example:8443/keys?api-key=secret#secret") == "https://keys.example:8443/keys"
    assert redacted_url("https://[::1/secret") == "a URL that cannot be read"
