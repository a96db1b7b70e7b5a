"""How often one connection may call: further calls wait, so that who opens and resets them without end (HTTP/2 rapid reset) waits too.

A call that its peer has reset has its place on the connection until its handler ends, and gRPC's core refuses, by itself, what goes beyond
the places that there are. So a handler that waits costs next to nothing, and all that comes meanwhile costs the event loop nothing.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from controlplane.serve.authn.rate_limit import RateLimiter

_PER_S = 100.0
_BURST = 200  # Envoy without ADS opens a stream for each resource
_WAIT_S = 5.0  # for which a call beyond that waits


class CallRate:
    """The calls of all connections to one address."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        """Count by ``monotonic``, in seconds."""
        self._limiter = RateLimiter(_PER_S, _BURST, monotonic)

    async def wait(self, peer: str) -> None:
        """Return when a call of ``peer``, an address and port, may go on; one that is reset is cancelled then, and not before."""
        if self._limiter.allows(peer):
            return
        over = asyncio.create_task(asyncio.sleep(_WAIT_S))
        try:
            await asyncio.shield(over)
        except asyncio.CancelledError:
            await over  # who is cancelled once more, as all are at the end of the process, goes at once
            raise
