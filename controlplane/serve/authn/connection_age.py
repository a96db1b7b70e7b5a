"""Until when who has called is believed: a stream ends by itself, without an error, and its peer comes again on a new connection.

gRPC tells the peer first that the connection is to be left (GOAWAY), so that the next stream opens another; then we end the stream. What is
open still after that is cut off by gRPC, which peers see as an error: it is for those that are no streams of ours, and never comes before.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable

_MAX_CONNECTIONS = 100_000  # that are remembered: more than a control plane can have open
_GOAWAY = 0.75  # of the age; gRPC itself adds or takes away a tenth of that
_STREAMS_END = 0.9  # of the age, at the earliest
_CUT_OFF = 0.7  # of the age, after the GOAWAY
_CUT_OFF_S = 5.0  # more, so that a connection whose first call came late is not cut off either


class ConnectionAge:
    """How old connections to one address may become."""

    def __init__(self, age_s: float, random: Callable[[], float], clock: Callable[[], float] = time.monotonic) -> None:
        """Have streams end when their connection is ``age_s`` old, or up to a tenth less by ``random`` (0 to 1), measured by ``clock``."""
        self._age_s = age_s
        self._random = random
        self._clock = clock
        self._ends: OrderedDict[str, float] = OrderedDict()  # by the peer of each connection, the oldest first

    @property
    def options(self) -> tuple[tuple[str, int], ...]:
        """Return gRPC's options."""
        goaway_s, cut_off_s = self._age_s * _GOAWAY, self._age_s * _CUT_OFF + _CUT_OFF_S
        return (("grpc.max_connection_age_ms", int(goaway_s * 1000)), ("grpc.max_connection_age_grace_ms", int(cut_off_s * 1000)))

    def ends_at(self, peer: str) -> float:
        """Return when streams of the connection of ``peer`` (its address and port) end: all at once, counted from its first call."""
        now = self._clock()
        while self._ends and (len(self._ends) >= _MAX_CONNECTIONS or next(iter(self._ends.values())) <= now):
            self._ends.popitem(last=False)
        ends = self._ends.get(peer, 0.0)
        if ends <= now:
            ends = now + self._age_s * (_STREAMS_END + (1 - _STREAMS_END) * self._random())
            self._ends[peer] = ends
            self._ends.move_to_end(peer)
        return ends
