"""Keeps what objects name by address: fetched when the first object names it, and anew from time to time, until none does.

All objects that name a target share what is there. Where fetching fails, what was good last stays for a while, or as long as it is named.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Generic, TypeVar
from urllib.parse import urlsplit

from controlplane.sources.fetched.client import Unreachable
from controlplane.sources.fetched.url_policy import Forbidden

log = logging.getLogger(__name__)


T = TypeVar("T", bound=Hashable)  # a target: an address, perhaps with more
H = TypeVar("H")  # how a target is to be fetched
V = TypeVar("V")  # what is there


@dataclass(frozen=True, slots=True, kw_only=True)
class RefreshTiming:
    """In seconds: how often values are fetched anew, how long they are good, how soon a failure is tried again, what a start waits for."""

    refresh_s: float = 1200.0
    good_s: float = 86_400.0
    again_s: float = 1.0  # doubled with each failure
    again_at_most_s: float = 300.0
    start_s: float = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RefreshInputs(Generic[T, H, V]):
    """What it needs from outside: how a target is fetched, the time, how to wait, and a random number in [0, 1).

    ``fetch`` raises Forbidden, Unreachable, and one of the exceptions that the Content calls unusable.
    """

    fetch: Callable[[T, H], Awaitable[V]]
    clock: Callable[[], float]
    sleep: Callable[[float], Awaitable[None]]
    random: Callable[[], float]


def _never(target: object) -> bool:
    del target
    return False


@dataclass(frozen=True, slots=True, kw_only=True)
class Content(Generic[T]):
    """What is fetched: its ``name`` in the log and in messages, and ``most``, from how many targets.

    ``unusable`` is raised by a fetch that finds something else; ``shown`` returns what may be shown of a target; what is at a target that
    is ``fixed`` never changes, so that it is fetched once.
    """

    name: str
    most: int
    unusable: type[Exception]
    shown: Callable[[T], str]
    fixed: Callable[[T], bool] = _never


@dataclass(frozen=True, slots=True)
class Fetched(Generic[V]):
    """What is at one target, ``None`` where there is nothing, and why the last attempt at fetching it failed, if it has."""

    value: V | None = None
    failure: str = ""


@dataclass(frozen=True, slots=True)
class FetchState(Generic[V]):
    """What is at one target, and how fetching it goes."""

    fetched: Fetched[V] = field(default_factory=Fetched)
    fetched_at: float | None = None  # when it was good last
    tried: bool = False
    failures: int = 0  # since then
    due: float = 0.0

    def after(self, value: V, now: float, timing: RefreshTiming, chance: float) -> FetchState[V]:
        """Return the state once ``value`` was fetched; it is fetched anew a bit early, so that targets do not all come due at once."""
        due = now + timing.refresh_s * (1 - chance / 10)
        return FetchState(Fetched(value), now, tried=True, due=due)

    def after_failure(self, why: str, now: float, timing: RefreshTiming, chance: float) -> FetchState[V]:
        """Return the state once fetching has failed, ``why``: what is too old is dropped."""
        old = self.fetched_at is not None and now - self.fetched_at >= timing.good_s
        wait = min(timing.again_at_most_s, timing.again_s * 2 ** min(self.failures, 20)) * (1 + chance) / 2
        end = now + wait if self.fetched_at is None or old else min(now + wait, self.fetched_at + timing.good_s)
        fetched = Fetched(None if old else self.fetched.value, why)
        return replace(self, fetched=fetched, fetched_at=None if old else self.fetched_at, tried=True, failures=self.failures + 1, due=end)


class Refresher(Generic[T, H, V]):
    """Fetches what is at the targets that ``want`` names, and keeps it fresh."""

    def __init__(
        self, content: Content[T], inputs: RefreshInputs[T, H, V], timing: RefreshTiming | None = None, at_a_time: int = 8
    ) -> None:
        """Fetch nothing yet; later from ``at_a_time`` targets at once."""
        self._content = content
        self._inputs = inputs
        self._timing = timing or RefreshTiming()
        self._wanted: Mapping[T, H] = {}
        self._states: dict[T, FetchState[V]] = {}
        self._surplus: frozenset[T] = frozenset()
        self._tasks: dict[T, asyncio.Task[None]] = {}
        self._wanted_changed, self._started = asyncio.Event(), asyncio.Event()
        self._slots = asyncio.Semaphore(at_a_time)
        self._start_is_over = False
        self._outcomes: Mapping[type[Exception], str] = {
            Forbidden: "forbidden",
            Unreachable: "unreachable",
            content.unusable: "unusable",
        }
        self.outcomes: Counter[str] = Counter()

    def want(self, wanted: Mapping[T, H]) -> None:
        """Keep what is at the targets ``wanted`` from now on, and nothing else; of too many those that are kept already stay.

        How a target is to be fetched counts from the next time on that it is.
        """
        self._wanted = dict(wanted)
        for target in sorted(self._wanted, key=lambda target: (target not in self._states, str(target)))[: self._content.most]:
            self._states.setdefault(target, FetchState())
        self._wanted_changed.set()
        if self._states:
            self._started.set()

    def hurry(self, targets: Iterable[T]) -> None:
        """Fetch what is at ``targets`` now, though it is not due: something that the fetch depends on has changed."""
        for target in targets:
            if task := self._tasks.pop(target, None):
                task.cancel()
        self._wanted_changed.set()

    @property
    def settled(self) -> bool:
        """Return whether every target has been asked once, or a start need not wait for them any longer."""
        return self._start_is_over or all(state.tried for state in self._states.values())

    def states(self) -> Mapping[T, FetchState[V]]:
        """Return the state of each target."""
        return dict(self._states)

    async def run(self, deliver: Callable[[Mapping[T, Fetched[V]]], None]) -> None:
        """Hand to ``deliver`` what has changed, until cancelled; no value and no failure: no object names the target any more."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._end_start(deliver))
            while True:
                await self._wanted_changed.wait()
                self._wanted_changed.clear()
                if news := {**self._forget(), **self._refuse_surplus()}:
                    deliver(news)
                for target in self._states.keys() - self._tasks.keys():
                    self._tasks[target] = tasks.create_task(self._refresh_forever(target, deliver))

    def _forget(self) -> dict[T, Fetched[V]]:
        unwanted = self._states.keys() - self._wanted.keys()
        for target in unwanted:
            del self._states[target]
            if task := self._tasks.pop(target, None):
                task.cancel()
        return {target: Fetched() for target in unwanted}

    def _refuse_surplus(self) -> dict[T, Fetched[V]]:
        surplus_before, self._surplus = self._surplus, frozenset(self._wanted.keys() - self._states.keys())
        failure = f"{self._content.name} are kept from at most {self._content.most} addresses, and there are more"
        refused: dict[T, Fetched[V]] = {target: Fetched(None, failure) for target in self._surplus - surplus_before}
        return {**{target: Fetched() for target in surplus_before - self._wanted.keys()}, **refused}

    async def _end_start(self, deliver: Callable[[Mapping[T, Fetched[V]]], None]) -> None:
        await self._started.wait()
        await self._inputs.sleep(self._timing.start_s)
        self._start_is_over = True
        deliver({})

    async def _refresh_forever(self, target: T, deliver: Callable[[Mapping[T, Fetched[V]]], None]) -> None:
        while True:
            async with self._slots:
                state = await self._fetch(target)
            previous, self._states[target] = self._states[target], state
            if state.fetched != previous.fetched or not previous.tried:
                deliver({target: state.fetched})
            if not state.failures and self._content.fixed(target):
                return
            await self._inputs.sleep(max(0.0, state.due - self._inputs.clock()))

    async def _fetch(self, target: T) -> FetchState[V]:
        inputs, state, name, shown = self._inputs, self._states[target], self._content.name, self._content.shown(target)
        try:
            value = await inputs.fetch(target, self._wanted[target])
        except (Forbidden, Unreachable, self._content.unusable) as error:
            why, outcome = str(error), next(word for kind, word in self._outcomes.items() if isinstance(error, kind))
        except Exception:  # an internal error; the other targets are fetched all the same
            log.exception("fetching failed", extra={"content": name, "uri": shown})
            why, outcome = "fetching them brings out a fault of the control plane, which has logged it", "internal"
        else:
            self.outcomes["ok"] += 1
            if state.fetched.value != value or state.failures:
                log.info("%s fetched", name, extra={"uri": shown})
            return state.after(value, inputs.clock(), self._timing, inputs.random())
        self.outcomes[outcome] += 1
        if state.fetched.failure != why:
            log.warning("%s not fetched", name, extra={"uri": shown, "reason": why})
        return state.after_failure(why, inputs.clock(), self._timing, inputs.random())


def redacted_url(uri: str) -> str:
    """Return ``uri`` without what may be secret: a user, a query."""
    try:
        parts = urlsplit(uri)
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
    except ValueError:
        return "a URL that cannot be read"
