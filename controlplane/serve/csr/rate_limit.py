"""How often each of many may do something, so that one that asks without end does not cost the others their turn."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable

_KEPT = 10_000


class RateLimiter:
    """Lets each come ``per_s`` times a second in the long run, and ``at_once`` times in a moment.

    Of each one number is kept, the time at which it owes nothing any more. https://en.wikipedia.org/wiki/Generic_cell_rate_algorithm
    """

    def __init__(self, per_s: float, at_once: int, monotonic: Callable[[], float]) -> None:
        """Count by ``monotonic``, in seconds."""
        self._step_s = 1.0 / per_s
        self._most_s = self._step_s * (at_once + 0.5)  # the half: sums of fractions are not exact
        self._monotonic = monotonic
        self._owes_until: OrderedDict[Hashable, float] = OrderedDict()  # who came last is last

    def allows(self, who: Hashable) -> bool:
        """Return whether ``who`` may come now, and count it if so."""
        now = self._monotonic()
        until = max(self._owes_until.get(who, now), now) + self._step_s
        if until - now > self._most_s:
            return False
        self._owes_until[who] = until
        self._owes_until.move_to_end(who)
        while len(self._owes_until) > _KEPT or next(iter(self._owes_until.values())) <= now:
            self._owes_until.popitem(last=False)
        return True
