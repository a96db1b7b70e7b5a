"""How many requests are answered, at a time and in a second: who comes beyond that waits, or is told to come again.

Health and metrics have a share of the event loop to themselves and are never refused: a kubelet and Prometheus wait for nobody's pages.
"""

from __future__ import annotations

from controlplane.admin.http_server import Asgi, Receive, Scope, Send, refuse
from controlplane.admin.route_access import ACCESS, EVENTS, RouteAccess
from controlplane.slices import LoopShare

MOST_AT_ONCE = 32
_AGAIN_S = 1


class RequestLimit:
    """An application that passes so many requests on to another."""

    def __init__(self, app: Asgi, pages: LoopShare, health: LoopShare) -> None:
        """Limit the requests of ``app``, which makes pages within a share of the event loop, and tells of ``health`` within another."""
        self._app = app
        self._pages = pages
        self._health = health
        self._under_way = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer or refuse one request."""
        if ACCESS.get(str(scope.get("path"))) is RouteAccess.ANYBODY:
            await self._health.turn()
            await self._app(scope, receive, send)
        elif scope.get("path") == EVENTS:  # whose readers have a limit of their own: they stay
            await self._pages.turn()
            await self._app(scope, receive, send)
        elif self._under_way >= MOST_AT_ONCE:
            await self._health.turn()
            reason = f"{MOST_AT_ONCE} requests are being answered, which is the most at a time: come again in {_AGAIN_S} s"
            await refuse(send, 503, reason, (b"retry-after", b"%d" % _AGAIN_S))
        else:
            self._under_way += 1
            try:
                await self._pages.turn()
                await self._app(scope, receive, send)
            finally:
                self._under_way -= 1
