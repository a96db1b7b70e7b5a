"""Keeps the keys of issuers: fetched when the first object names their address, and anew from time to time, until none does.

Whoever names an address shares its keys. Where fetching fails, the last good keys stay for a day; with none there is nobody whose
tokens could be believed.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TypeAlias
from urllib.parse import urlsplit

from controlplane.objects.security.jwks import KeySet, UnusableKeys
from controlplane.sources.jwks.fetch import IssuerUnreachable
from controlplane.sources.jwks.url_policy import Forbidden

log = logging.getLogger(__name__)

NAME = "jwks"
_AT_ONCE = 8
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
    """What it is made of: how keys are fetched, how late it is, how to wait, and chance in [0, 1)."""

    fetch: Callable[[str], Awaitable[str]]  # raises Forbidden, Unreachable, Unusable
    clock: Callable[[], float]
    sleep: Callable[[float], Awaitable[None]]
    random: Callable[[], float]


_NOTHING = KeySet()


@dataclass(frozen=True, slots=True)
class FetchState:
    """What is known of one address."""

    keys: KeySet = _NOTHING
    fetched_at: float | None = None  # when the keys were good last
    tried: bool = False
    failures: int = 0  # since then
    due: float = 0.0

    def after(self, found: str, now: float, timing: RefreshTiming, chance: float) -> FetchState:
        """Return what is known once the keys ``found`` have come; they are fetched anew a bit before that is due, each at its own time."""
        due = now + timing.refresh_s * (1 - chance / 10)
        return FetchState(KeySet(found), now, tried=True, due=due)

    def after_failure(self, why: str, now: float, timing: RefreshTiming, chance: float) -> FetchState:
        """Return what is known once fetching has failed, ``why``: keys that are too old are known no more."""
        old = self.fetched_at is not None and now - self.fetched_at >= timing.good_s
        wait = min(timing.again_at_most_s, timing.again_s * 2 ** min(self.failures, 20)) * (1 + chance) / 2
        end = now + wait if self.fetched_at is None or old else min(now + wait, self.fetched_at + timing.good_s)
        keys = KeySet(None if old else self.keys.text, why)
        return replace(self, keys=keys, fetched_at=None if old else self.fetched_at, tried=True, failures=self.failures + 1, due=end)


Deliver: TypeAlias = Callable[[Mapping[str, KeySet]], None]


class JwksRefresher:
    """Keeps what is wanted by ``want``."""

    def __init__(self, means: RefreshInputs, timing: RefreshTiming | None = None) -> None:
        """Keep nothing yet."""
        self._means = means
        self._timing = timing or RefreshTiming()
        self._wanted: frozenset[str] = frozenset()
        self._held: dict[str, FetchState] = {}
        self._left_out: frozenset[str] = frozenset()
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._news, self._begun = asyncio.Event(), asyncio.Event()
        self._places = asyncio.Semaphore(_AT_ONCE)
        self._late = False
        self.outcomes: Counter[str] = Counter()

    def want(self, uris: Iterable[str]) -> None:
        """Keep the keys at ``uris`` from now on, and no others; of too many those that are kept already stay."""
        self._wanted = frozenset(uris)
        for uri in sorted(self._wanted, key=lambda uri: (uri not in self._held, uri))[:_MOST]:
            self._held.setdefault(uri, FetchState())
        self._news.set()
        if self._held:
            self._begun.set()

    @property
    def settled(self) -> bool:
        """Return whether everything wanted has been asked for once, or that takes too long to be waited for."""
        return self._late or all(each.tried for each in self._held.values())

    def held(self) -> Mapping[str, FetchState]:
        """Return what is known, by address."""
        return dict(self._held)

    async def run(self, deliver: Deliver) -> None:
        """Hand to ``deliver`` what has changed, until cancelled; no keys and no failure: nobody wants them any more."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._be_late(deliver))
            while True:
                await self._news.wait()
                self._news.clear()
                if news := {**self._forget(), **self._leave_out()}:
                    deliver(news)
                for uri in self._held.keys() - self._tasks.keys():
                    self._tasks[uri] = tasks.create_task(self._keep(uri, deliver))

    def _forget(self) -> dict[str, KeySet]:
        gone = self._held.keys() - self._wanted
        for uri in gone:
            del self._held[uri]
            if task := self._tasks.pop(uri, None):
                task.cancel()
        return dict.fromkeys(gone, KeySet())

    def _leave_out(self) -> dict[str, KeySet]:
        before, self._left_out = self._left_out, self._wanted - self._held.keys()
        told = dict.fromkeys(self._left_out - before, KeySet(None, f"keys are kept from at most {_MOST} addresses, and there are more"))
        return {**dict.fromkeys(before - self._wanted, KeySet()), **told}

    async def _be_late(self, deliver: Deliver) -> None:
        await self._begun.wait()
        await self._means.sleep(self._timing.start_s)
        self._late = True
        deliver({})

    async def _keep(self, uri: str, deliver: Deliver) -> None:
        while True:
            async with self._places:
                held = await self._fetch(uri)
            before, self._held[uri] = self._held[uri], held
            if held.keys != before.keys or not before.tried:
                deliver({uri: held.keys})
            await self._means.sleep(max(0.0, held.due - self._means.clock()))

    async def _fetch(self, uri: str) -> FetchState:
        means, held = self._means, self._held[uri]
        try:
            found = await means.fetch(uri)
        except (Forbidden, IssuerUnreachable, UnusableKeys) as error:
            why, outcome = str(error), type(error).__name__.lower()
        except Exception:  # ours; the others are kept all the same
            log.exception("fetching keys failed", extra={"uri": redacted_url(uri)})
            why, outcome = "fetching them brings out a fault of the control plane, which has logged it", "internal"
        else:
            self.outcomes["ok"] += 1
            if held.keys.text != found or held.failures:
                log.info("keys fetched", extra={"uri": redacted_url(uri)})
            return held.after(found, means.clock(), self._timing, means.random())
        self.outcomes[outcome] += 1
        if held.keys.failure != why:
            log.warning("keys not fetched", extra={"uri": redacted_url(uri), "reason": why})
        return held.after_failure(why, means.clock(), self._timing, means.random())


def redacted_url(uri: str) -> str:
    """Return ``uri`` without what may be a secret in it: a user, a query."""
    try:
        parts = urlsplit(uri)
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
    except ValueError:
        return "a URL that cannot be read"
