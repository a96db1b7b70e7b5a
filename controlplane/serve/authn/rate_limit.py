"""Limits the rate of each caller, so that one that asks without end does not cost the others their turn."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable

_MAX_CALLERS = 10_000


class RateLimiter:
    """Allows each caller ``per_s`` calls a second in the long run, and ``burst`` at a time.

    For each caller one number is kept, the time at which it may have a whole burst again:
    https://en.wikipedia.org/wiki/Generic_cell_rate_algorithm
    """

    def __init__(self, per_s: float, burst: int, monotonic: Callable[[], float]) -> None:
        """Count by ``monotonic``, in seconds."""
        self._step_s = 1.0 / per_s
        self._max_debt_s = self._step_s * (burst + 0.5)  # the half: sums of fractions are not exact
        self._monotonic = monotonic
        self._debt_ends: OrderedDict[Hashable, float] = OrderedDict()  # the latest caller is last

    def allows(self, caller: Hashable) -> bool:
        """Return whether ``caller`` may call now, and count the call if so."""
        now = self._monotonic()
        until = max(self._debt_ends.get(caller, now), now) + self._step_s
        if until - now > self._max_debt_s:
            return False
        self._debt_ends[caller] = until
        self._debt_ends.move_to_end(caller)
        while len(self._debt_ends) > _MAX_CALLERS or next(iter(self._debt_ends.values())) <= now:
            self._debt_ends.popitem(last=False)
        return True
