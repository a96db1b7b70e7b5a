"""How late the event loop is: what every stream, every page and every health check waits in addition."""

from __future__ import annotations

import asyncio

from prometheus_client import Histogram

_EVERY_S = 0.25
_BUCKETS = (0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0)


class LoopLag:
    """Measures how much later than asked for the event loop comes back to one task."""

    def __init__(self) -> None:
        """Begin with nothing measured."""
        self.seconds = Histogram(
            "navarch_event_loop_lag_seconds", "How late the event loop was, four times a second.", registry=None, buckets=_BUCKETS
        )

    async def run(self) -> None:
        """Measure until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + _EVERY_S
            await asyncio.sleep(_EVERY_S)
            self.seconds.observe(max(0.0, loop.time() - due))
