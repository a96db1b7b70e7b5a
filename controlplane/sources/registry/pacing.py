"""How often a registry is asked: a bucket of tokens for answers that come quickly, longer and longer waits after failures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(slots=True)
class TokenBucket:
    """Lets ``burst`` go at once, and then one every ``interval_s``; ``now`` is any clock's."""

    burst: float
    interval_s: float
    _tokens: float | None = None
    _seen: float = 0.0

    def take(self, now: float) -> float:
        """Take a token, and return how long to wait until it is there."""
        before = self.burst if self._tokens is None else self._tokens
        filled = min(self.burst, before + (now - self._seen) / self.interval_s) if self._tokens is not None else before
        self._seen = now
        self._tokens = filled - 1.0
        return max(0.0, -self._tokens * self.interval_s)


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
