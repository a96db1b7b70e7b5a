"""How often a registry is asked: a bucket of tokens for answers that come quickly, longer and longer waits after failures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(slots=True)
class TokenBucket:
    """Lets ``burst`` go at once, and then one every ``interval_s``; ``now`` is any clock's."""

    burst: float
    interval_s: float
    _spent: float = 0.0  # tokens that are missing, at the moment ``_seen``
    _seen: float = 0.0

    def wait_s(self, now: float) -> float:
        """Return how long it takes until there is a token."""
        return max(0.0, (self._missing(now) + 1.0 - self.burst) * self.interval_s)

    def take(self, now: float) -> float:
        """Take a token, and return how long to wait until it is there."""
        wait_s = self.wait_s(now)
        self._spent, self._seen = self._missing(now) + 1.0, now
        return wait_s

    def _missing(self, now: float) -> float:
        return max(0.0, self._spent - (now - self._seen) / self.interval_s)


@dataclass(slots=True)
class RetryDelay:
    """How long to wait after a failure: jittered, doubling from ``first_s`` up to ``last_s``; ``random`` gives numbers below 1."""

    random: Callable[[], float]
    first_s: float = 0.25
    last_s: float = 10.0
    _next_s: float = 0.0

    def failed(self) -> float:
        """Return how long to wait now that it has failed."""
        wait_s = self._next_s or self.first_s
        self._next_s = min(self.last_s, 2 * wait_s)
        return wait_s * (0.5 + self.random())

    def worked(self) -> None:
        """Take note that it has worked."""
        self._next_s = 0.0
