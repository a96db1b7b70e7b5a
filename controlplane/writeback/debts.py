"""Which objects have a status that is not as it should be, since when, and when each is to be written. Pure: the time is an argument.

The oldest debt is paid first. One that cannot be paid is tried again later and later, and keeps no other waiting.
"""

from __future__ import annotations

from collections.abc import Container, Iterator
from dataclasses import dataclass

from controlplane.model.keys import Key

AGAIN_S = (5.0, 60.0)  # the first wait after a refusal, doubling up to the last: a right that is given back is noticed within a minute
QUIET_S = 10.0  # for which the number of proxies has to stay what it is before it is worth a write
_RECOUNTS = 4  # writes for the sake of a number alone that may follow each other
_RECOUNT_EVERY_S = 30.0  # and in the long run


@dataclass(slots=True)
class _Debt:
    since: float
    due_at: float
    failures: int = 0
    reason: str = ""
    collection: str = ""


class Debts:
    """What is owed."""

    def __init__(self) -> None:
        """Begin without debts."""
        self._debts: dict[Key, _Debt] = {}

    def owe(self, key: Key, now: float, patience_s: float = 0.0) -> None:
        """Take note that the status of ``key`` is not as it should be, which becomes urgent after ``patience_s``."""
        debt = self._debts.setdefault(key, _Debt(now, now))
        if not debt.failures:
            debt.due_at = debt.since + patience_s

    def paid(self, key: Key) -> None:
        """Take note that the status of ``key`` is as it should be."""
        self._debts.pop(key, None)

    def failed(self, key: Key, now: float, reason: str, collection: str) -> int:
        """Take note that the status of ``key``, in ``collection``, could not be written for ``reason``; return how often that was so."""
        debt = self._debts.setdefault(key, _Debt(now, now))
        first, last = AGAIN_S
        debt.due_at = now + min(last, first * 2 ** min(debt.failures, 10))
        debt.failures += 1
        debt.reason, debt.collection = reason, collection
        return debt.failures

    def forget_others(self, keys: Container[Key]) -> None:
        """Forget what is owed to others than ``keys``."""
        for key in [key for key in self._debts if key not in keys]:
            del self._debts[key]

    def clear(self) -> None:
        """Forget everything: somebody else pays."""
        self._debts.clear()

    def due(self, now: float, *, refused: bool) -> Iterator[Key]:
        """Yield what is to be written at ``now``, the oldest debt first: of those that were ``refused`` before, or of the others."""
        due = (key for key, debt in self._debts.items() if debt.due_at <= now and bool(debt.failures) is refused)
        yield from sorted(due, key=lambda key: self._debts[key].since)

    def refused(self) -> dict[Key, str]:
        """Return the objects whose status could not be written, and why."""
        return {key: debt.reason for key, debt in self._debts.items() if debt.failures}

    def is_refused(self, collection: str) -> bool:
        """Return whether the status of an object in ``collection`` could not be written."""
        return any(debt.failures and debt.collection == collection for debt in self._debts.values())


class Recounts:
    """Of which objects the status says another number of proxies than there are, and nothing else that is not so."""

    def __init__(self) -> None:
        """Begin without any."""
        self._waiting: dict[Key, tuple[object, float]] = {}  # the number, and since when
        self._allowed = float(_RECOUNTS)
        self._allowed_at = 0.0

    def want(self, key: Key, count: object, now: float) -> None:
        """Take note that the status of ``key`` should say ``count``."""
        known = self._waiting.get(key)
        if known is None or known[0] != count:
            self._waiting[key] = (count, now)

    def drop(self, key: Key) -> None:
        """Take note that the status of ``key`` says what it should, or is to be written anyway."""
        self._waiting.pop(key, None)

    def forget_others(self, keys: Container[Key]) -> None:
        """Forget others than ``keys``."""
        for key in [key for key in self._waiting if key not in keys]:
            del self._waiting[key]

    def clear(self) -> None:
        """Forget all."""
        self._waiting.clear()

    def take(self, now: float) -> Iterator[Key]:
        """Yield those whose number has been the same for long enough, as many as are worth a write at ``now``; each is forgotten."""
        self._allowed = min(_RECOUNTS, self._allowed + (now - self._allowed_at) / _RECOUNT_EVERY_S)
        self._allowed_at = now
        quiet = sorted((since, key) for key, (_, since) in self._waiting.items() if now - since >= QUIET_S)
        for _, key in quiet[: int(self._allowed)]:
            self._allowed -= 1
            del self._waiting[key]
            yield key
