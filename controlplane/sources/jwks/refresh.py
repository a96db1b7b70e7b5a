"""Keeps the keys of issuers: fetched when the first object names their address, and anew from time to time, until none does.

All objects that name an address share its keys. Where fetching fails, the last good keys stay for a day; without any, all tokens
of the issuer are refused.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import TypeAlias
from urllib.parse import urlsplit

from controlplane.objects.security.jwks import KeySet, UnusableKeys
from controlplane.sources.jwks.fetch import IssuerUnreachable
from controlplane.sources.jwks.url_policy import Forbidden

log = logging.getLogger(__name__)

NAME = "jwks"
_MAX_CONCURRENT = 8
_MOST = 1000  # addresses; each may hold MAX_BYTES


@dataclass(frozen=True, slots=True, kw_only=True)
class RefreshTiming:
    """In seconds: how often keys are fetched anew, how long they are good, how soon a failure is tried again, what a start waits for."""

    refresh_s: float = 1200.0
    good_s: float = 86_400.0
    again_s: float = 1.0  # doubled with each failure
    again_at_most_s: float = 300.0
    start_s: float = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RefreshInputs:
    """What it needs from outside: how keys are fetched, the time, how to wait, and a random number in [0, 1)."""

    fetch: Callable[[str, int | None], Awaitable[str]]  # of an address, within a timeout; raises Forbidden, Unreachable, Unusable
    clock: Callable[[], float]
    sleep: Callable[[float], Awaitable[None]]
    random: Callable[[], float]


_NO_KEYS = KeySet()


@dataclass(frozen=True, slots=True)
class FetchState:
    """The keys of one address, and how fetching them goes."""

    keys: KeySet = _NO_KEYS
    fetched_at: float | None = None  # when the keys were good last
    tried: bool = False
    failures: int = 0  # since then
    due: float = 0.0

    def after(self, key_set: str, now: float, timing: RefreshTiming, chance: float) -> FetchState:
        """Return the state once ``key_set`` was fetched; it is fetched anew a bit early, so that addresses do not all come due at once."""
        due = now + timing.refresh_s * (1 - chance / 10)
        return FetchState(KeySet(key_set), now, tried=True, due=due)

    def after_failure(self, why: str, now: float, timing: RefreshTiming, chance: float) -> FetchState:
        """Return the state once fetching has failed, ``why``: keys that are too old are dropped."""
        old = self.fetched_at is not None and now - self.fetched_at >= timing.good_s
        wait = min(timing.again_at_most_s, timing.again_s * 2 ** min(self.failures, 20)) * (1 + chance) / 2
        end = now + wait if self.fetched_at is None or old else min(now + wait, self.fetched_at + timing.good_s)
        keys = KeySet(None if old else self.keys.text, why)
        return replace(self, keys=keys, fetched_at=None if old else self.fetched_at, tried=True, failures=self.failures + 1, due=end)


_OUTCOMES: Mapping[type[Exception], str] = {Forbidden: "forbidden", IssuerUnreachable: "unreachable", UnusableKeys: "unusable"}
Deliver: TypeAlias = Callable[[Mapping[str, KeySet]], None]


class JwksRefresher:
    """Fetches the keys at the addresses that ``want`` names, and keeps them fresh."""

    def __init__(self, inputs: RefreshInputs, timing: RefreshTiming | None = None) -> None:
        """Fetch nothing yet."""
        self._inputs = inputs
        self._timing = timing or RefreshTiming()
        self._wanted: Mapping[str, int | None] = {}
        self._states: dict[str, FetchState] = {}
        self._surplus: frozenset[str] = frozenset()
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._wanted_changed, self._started = asyncio.Event(), asyncio.Event()
        self._slots = asyncio.Semaphore(_MAX_CONCURRENT)
        self._start_is_over = False
        self.outcomes: Counter[str] = Counter()

    def want(self, timeouts: Mapping[str, int | None]) -> None:
        """Keep the keys at the addresses of ``timeouts`` from now on, and no others; of too many those that are kept already stay.

        A timeout, in milliseconds, counts from the next time on that the keys are fetched; ``None`` is for what is usual.
        """
        self._wanted = dict(timeouts)
        for uri in sorted(self._wanted, key=lambda uri: (uri not in self._states, uri))[:_MOST]:
            self._states.setdefault(uri, FetchState())
        self._wanted_changed.set()
        if self._states:
            self._started.set()

    @property
    def settled(self) -> bool:
        """Return whether every address has been asked once, or a start need not wait for them any longer."""
        return self._start_is_over or all(state.tried for state in self._states.values())

    def states(self) -> Mapping[str, FetchState]:
        """Return the state of each address."""
        return dict(self._states)

    async def run(self, deliver: Deliver) -> None:
        """Hand to ``deliver`` what has changed, until cancelled; no keys and no failure: no object names the address any more."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._end_start(deliver))
            while True:
                await self._wanted_changed.wait()
                self._wanted_changed.clear()
                if news := {**self._forget(), **self._refuse_surplus()}:
                    deliver(news)
                for uri in self._states.keys() - self._tasks.keys():
                    self._tasks[uri] = tasks.create_task(self._refresh_forever(uri, deliver))

    def _forget(self) -> dict[str, KeySet]:
        unwanted = self._states.keys() - self._wanted.keys()
        for uri in unwanted:
            del self._states[uri]
            if task := self._tasks.pop(uri, None):
                task.cancel()
        return dict.fromkeys(unwanted, KeySet())

    def _refuse_surplus(self) -> dict[str, KeySet]:
        surplus_before, self._surplus = self._surplus, frozenset(self._wanted.keys() - self._states.keys())
        refused = dict.fromkeys(
            self._surplus - surplus_before, KeySet(None, f"keys are kept from at most {_MOST} addresses, and there are more")
        )
        return {**dict.fromkeys(surplus_before - self._wanted.keys(), KeySet()), **refused}

    async def _end_start(self, deliver: Deliver) -> None:
        await self._started.wait()
        await self._inputs.sleep(self._timing.start_s)
        self._start_is_over = True
        deliver({})

    async def _refresh_forever(self, uri: str, deliver: Deliver) -> None:
        while True:
            async with self._slots:
                state = await self._fetch(uri)
            previous, self._states[uri] = self._states[uri], state
            if state.keys != previous.keys or not previous.tried:
                deliver({uri: state.keys})
            await self._inputs.sleep(max(0.0, state.due - self._inputs.clock()))

    async def _fetch(self, uri: str) -> FetchState:
        inputs, state = self._inputs, self._states[uri]
        try:
            key_set = await inputs.fetch(uri, self._wanted.get(uri))
        except (Forbidden, IssuerUnreachable, UnusableKeys) as error:
            why, outcome = str(error), _OUTCOMES[type(error)]
        except Exception:  # an internal error; the other addresses are fetched all the same
            log.exception("fetching keys failed", extra={"uri": redacted_url(uri)})
            why, outcome = "fetching them brings out a fault of the control plane, which has logged it", "internal"
        else:
            self.outcomes["ok"] += 1
            if state.keys.text != key_set or state.failures:
                log.info("keys fetched", extra={"uri": redacted_url(uri)})
            return state.after(key_set, inputs.clock(), self._timing, inputs.random())
        self.outcomes[outcome] += 1
        if state.keys.failure != why:
            log.warning("keys not fetched", extra={"uri": redacted_url(uri), "reason": why})
        return state.after_failure(why, inputs.clock(), self._timing, inputs.random())


def redacted_url(uri: str) -> str:
    """Return ``uri`` without what may be secret: a user, a query."""
    try:
        parts = urlsplit(uri)
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
    except ValueError:
        return "a URL that cannot be read"
