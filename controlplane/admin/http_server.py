"""An HTTP server inside the event loop that everything else runs in."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterator, MutableMapping

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

Scope = MutableMapping[str, object]
Message = MutableMapping[str, object]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Asgi = Callable[[Scope, Receive, Send], Awaitable[None]]

HEADER_S = 10.0  # for the header of the first request
_IDLE_S = 60


class _Protocol(H11Protocol):
    """HTTP/1.1 that hangs up on who connects and does not ask."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.loop.call_later(HEADER_S, self._close_unless_requested)

    def _close_unless_requested(self) -> None:
        if self.cycle is None:
            self.transport.close()


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to whoever started this."""
        yield


class HttpServer:
    """Serves ``app`` at an address."""

    def __init__(self, app: Asgi, address: str, tls: ssl.SSLContext | None = None, *, option: str = "") -> None:
        """Serve ``app`` at ``address`` (host:port; port 0: any free one), once that is open; by HTTPS where there is a ``tls``.

        ``option`` is the flag that the address was given by.
        """
        self._option = option
        self._host, _, port = address.rpartition(":")
        self._port = int(port)
        self._socket: socket.socket | None = None
        config = uvicorn.Config(
            app,
            http=_Protocol,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_keep_alive=_IDLE_S,
            timeout_graceful_shutdown=2,
            h11_max_incomplete_event_size=16 << 10,
        )
        config.load()
        config.ssl = tls
        self._server = _Server(config)

    def open(self) -> str:
        """Open the port and return the address with its number; raises OSError where that cannot be."""
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        try:
            self._socket = socket.create_server((self._host.strip("[]"), self._port), family=family, backlog=1024)
        except OSError as error:
            raise OSError(
                error.errno, f"cannot listen at {self._host}:{self._port}: {os.strerror(error.errno or 0)}", self._option
            ) from None
        return f"{self._host}:{self._socket.getsockname()[1]}"

    def close(self) -> None:
        """Close the port, if it is open and nobody is served there."""
        if self._socket is not None:
            self._socket.close()

    async def run(self) -> None:
        """Serve at the open port until ``stop`` is called."""
        await self._server.serve(sockets=[self._socket] if self._socket else None)

    def stop(self) -> None:
        """Finish what is being answered and stop."""
        self._server.should_exit = True
