"""An HTTP server inside the event loop that everything else runs in."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import logging
import os
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from functools import partial
from pathlib import Path

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

from controlplane.admin.open_connections import OpenConnections

Scope = MutableMapping[str, object]
Message = MutableMapping[str, object]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Asgi = Callable[[Scope, Receive, Send], Awaitable[None]]

log = logging.getLogger(__name__)

HEADER_S = 10.0  # for the handshake of TLS, and for the header of each request
WRITE_S = 20.0  # for a peer to take in most of what is written to it and not sent yet: 64 KiB and a little more
_IDLE_S = 60
_BACKLOG = 1024
_UNIX = "unix:"  # before the path of a socket in the file system: whoever may write to it may ask there
_OWNER_ALONE = 0o177  # what is taken from the rights of such a file
_TLS_END_S = 2.0  # for a peer to say that it has heard the end
_ACCEPT_AGAIN_S = 0.1  # after no connection could be accepted, for want of file descriptors as a rule


async def refuse(send: Send, status: int, reason: str, *headers: tuple[bytes, bytes]) -> None:
    """Answer a request that goes no further with ``status``, ``reason`` and ``headers``, and end the connection."""
    always = ((b"content-type", b"application/json"), (b"connection", b"close"))
    await send({"type": "http.response.start", "status": status, "headers": [*always, *headers]})
    await send({"type": "http.response.body", "body": json.dumps({"detail": reason}).encode()})


class _Protocol(H11Protocol):
    """HTTP/1.1 that hangs up on who connects and does not ask, and on who asks and does not read."""

    _header_limit: asyncio.TimerHandle | None = None
    _write_limit: asyncio.TimerHandle | None = None
    on_lost: Callable[[], None] | None = None

    @property
    def is_waiting(self) -> bool:
        """Return whether the next thing to come is the header of a request."""
        cycle: RequestResponseCycle | None = self.cycle
        return cycle is None or cycle.response_complete

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._limit_header()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if not self.is_waiting:
            self._lift_limit()
        elif self._header_limit is None:
            self._limit_header()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._write_limit = self._write_limit or self.loop.call_later(WRITE_S, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._lift_write_limit()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._lift_limit()
        self._lift_write_limit()
        if self.on_lost:
            self.on_lost()

    def _limit_header(self) -> None:
        self._header_limit = self.loop.call_later(HEADER_S, self.transport.close)

    def _lift_write_limit(self) -> None:
        if self._write_limit is not None:
            self._write_limit.cancel()
            self._write_limit = None

    def _lift_limit(self) -> None:
        if self._header_limit is not None:
            self._header_limit.cancel()
            self._header_limit = None


class _Connection:
    """One accepted connection: ``task`` opens it, by a handshake where there is TLS, and ``protocol`` has its requests."""

    def __init__(self, protocol: _Protocol, task: asyncio.Task[object] | None) -> None:
        self._protocol = protocol
        self._task = task

    @property
    def is_answered(self) -> bool:
        """Return whether a whole request has come that is not answered yet."""
        return not self._protocol.is_waiting and not self._protocol.cycle.more_body

    def hang_up(self) -> None:
        """End the connection at once."""
        transport: asyncio.Transport | None = self._protocol.transport
        if transport is not None:
            transport.abort()
        elif self._task is not None:
            self._task.cancel()


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to whoever started this."""
        yield


class HttpServer:
    """Serves ``app`` at an address."""

    def __init__(self, app: Asgi, address: str, tls: Callable[[], ssl.SSLContext] | None = None, *, option: str = "") -> None:
        """Serve ``app`` at ``address`` (host:port, port 0: any free one; or unix:PATH), once that is open.

        By HTTPS where there is a ``tls``, which returns the context of each new connection; ``option`` is the flag that the address was
        given by.
        """
        self._option = option
        self._address = address
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
        self._config = config
        self._server = _Server(config)
        self._tls = tls
        self._connections = OpenConnections()
        self._accepting: asyncio.Task[None] | None = None

    def open(self) -> str:
        """Open the port and return the address with its number; raises OSError where that cannot be."""
        try:
            self._socket = _listening(self._address)
        except OSError as error:
            raise OSError(error.errno, f"cannot listen at {self._address}: {os.strerror(error.errno or 0)}", self._option) from None
        self._socket.settimeout(0)
        if self._address.startswith(_UNIX):
            return self._address
        return f"{self._address.rpartition(':')[0]}:{self._socket.getsockname()[1]}"

    def close(self) -> None:
        """Close the port, if it is open and nobody is served there."""
        if self._socket is not None:
            self._socket.close()
            if self._address.startswith(_UNIX):
                Path(self._address.removeprefix(_UNIX)).unlink(missing_ok=True)

    async def run(self) -> None:
        """Serve at the open port until ``stop`` is called."""
        if self._socket is None:
            raise RuntimeError("the port is not open")
        self._accepting = asyncio.create_task(self._accept(self._socket))
        try:
            await self._server.serve(sockets=[])
        finally:
            self._accepting.cancel()
            self.close()

    def stop(self) -> None:
        """Finish what is being answered and stop."""
        self._server.should_exit = True
        if self._accepting is not None:
            self._accepting.cancel()

    async def _accept(self, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        async with asyncio.TaskGroup() as tasks:
            while True:
                try:
                    accepted, address = await loop.sock_accept(listening)
                except OSError:  # a peer that has gone already, or no file descriptor is left
                    await asyncio.sleep(_ACCEPT_AGAIN_S)
                    continue
                tasks.create_task(self._connect(accepted, str(address[0]) if address else _UNIX))

    async def _connect(self, accepted: socket.socket, peer: str) -> None:
        protocol = _Protocol(self._config, self._server.server_state, {})
        connection = _Connection(protocol, asyncio.current_task())
        if not self._connections.add(connection, peer):
            accepted.close()
            return
        protocol.on_lost = partial(self._connections.remove, connection)
        limits = {"ssl_handshake_timeout": HEADER_S, "ssl_shutdown_timeout": _TLS_END_S} if self._tls else {}
        try:
            tls = self._tls() if self._tls else None
            await asyncio.get_running_loop().connect_accepted_socket(lambda: protocol, accepted, ssl=tls, **limits)
        except OSError:  # no TLS, or not in time
            self._connections.remove(connection)
        except asyncio.CancelledError:
            self._connections.remove(connection)
            raise
        except Exception:  # an internal error, of one connection
            self._connections.remove(connection)
            log.exception("connection not opened")


def _listening(address: str) -> socket.socket:
    if address.startswith(_UNIX):
        return _listening_at(address.removeprefix(_UNIX))
    host, _, port = address.rpartition(":")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host.strip("[]"), int(port)), family=family, backlog=_BACKLOG)


def _listening_at(path: str) -> socket.socket:
    """Return a socket that listens at ``path``, for this user alone; one that a process before has left there is replaced.

    Raises OSError where somebody listens there, or something else stands there.
    """
    if Path(path).is_socket() and not _is_served(path):
        Path(path).unlink()
    listening = socket.socket(socket.AF_UNIX)
    before = os.umask(_OWNER_ALONE)
    try:
        listening.bind(path)
        listening.listen(_BACKLOG)
    except OSError:
        listening.close()
        raise
    finally:
        os.umask(before)
    return listening


def _is_served(path: str) -> bool:
    with socket.socket(socket.AF_UNIX) as trial:
        try:
            trial.connect(path)
        except OSError as error:
            return error.errno not in (errno.ECONNREFUSED, errno.ENOENT)
        return True
