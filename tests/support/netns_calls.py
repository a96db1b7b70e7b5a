"""What an application within a network namespace does: connects, speaks TLS or HTTP, keeps connections; and says who answered."""

from __future__ import annotations

import http.client
import itertools
import json
import select
import socket
import ssl
import time
from contextlib import suppress

_PATIENCE_S = 30.0  # for an answer: the machine may be busy


class Calls:
    """The connections that this process keeps, by number, and those that it makes for one answer."""

    def __init__(self) -> None:
        self._numbers = itertools.count()
        self._kept: dict[int, tuple[socket.socket, float]] = {}

    def tcp(self, host: str, port: int, source: str = "", first: str = "hello\n") -> dict[str, object]:
        """Return how the server greets who connects and says ``first``."""
        try:
            with _connected(host, port, source) as connection:
                return _greeting(connection, first)
        except OSError as error:
            return {"error": str(error)}

    def tls(self, host: str, port: int, name: str = "", source: str = "") -> dict[str, object]:
        """Return how the server greets who speaks TLS and asks for ``name``, or for none."""
        try:
            with _connected(host, port, source) as plain, _secured(plain, name) as connection:
                return _greeting(connection, "hello\n")
        except OSError as error:
            return {"error": str(error)}

    def http(self, host: str, port: int, authority: str, path: str, headers: dict[str, str], name: str | None = None) -> dict[str, object]:
        """Return the answer to a request for ``path`` of ``authority`` that goes to ``host``, by TLS where there is a ``name``."""
        return self.answer(self.ask(host, port, authority, path, headers, name))

    def ask(self, host: str, port: int, authority: str, path: str, headers: dict[str, str], name: str | None = None) -> int:
        """Send such a request, and return by which number its answer can be had."""
        lines = [f"GET {path} HTTP/1.1", f"Host: {authority}", "Connection: close", *(f"{key}: {value}" for key, value in headers.items())]
        number = next(self._numbers)
        with suppress(OSError):
            plain = _connected(host, port, "")
            connection = plain if name is None else _secured(plain, name)
            connection.sendall("\r\n".join([*lines, "", ""]).encode())
            self._kept[number] = connection, time.monotonic()
        return number

    def answer(self, number: int) -> dict[str, object]:
        """Return the answer to the request ``number``."""
        if number not in self._kept:
            return {"error": "no connection"}
        with self._kept.pop(number)[0] as connection:
            try:
                found = http.client.HTTPResponse(connection, method="GET")
                found.begin()
                body = found.read().decode(errors="replace")
            except (OSError, http.client.HTTPException) as error:
                return {"error": repr(error)}
            said = {"status": found.status, "body": body, "answer_headers": {key.lower(): value for key, value in found.getheaders()}}
            return {**(json.loads(body) if found.getheader("content-type") == "application/json" else {}), **said}

    def keep(self, host: str, port: int) -> tuple[int, dict[str, object]]:
        """Open a connection by TCP that stays; return its number, and how the server greets."""
        number, began = next(self._numbers), time.monotonic()
        try:
            connection = _connected(host, port, "")
            greeting = _greeting(connection, "hello\n")
            _line(connection)  # the same, come back
        except OSError as error:
            return number, {"error": str(error)}
        self._kept[number] = connection, began
        return number, greeting

    def say(self, number: int, text: str) -> str:
        """Send the line ``text`` and return what comes back, nothing where the connection is at its end."""
        with suppress(OSError):
            connection, _ = self._kept[number]
            connection.sendall(f"{text}\n".encode())
            return _line(connection).decode().strip()
        return ""

    def is_closed(self, number: int) -> bool:
        """Return whether the other side has closed the connection; a tenth of a second is waited for that."""
        connection, _ = self._kept[number]
        readable, _, _ = select.select([connection], [], [], 0.1)
        with suppress(ConnectionError):
            return bool(readable) and not connection.recv(1, socket.MSG_PEEK)
        return True

    def ended(self, number: int) -> float | None:
        """Wait until the other side closes the connection; return how many seconds after it was asked for, nothing where it does not."""
        connection, began = self._kept.pop(number)
        try:
            with connection, suppress(ConnectionError):
                while connection.recv(65536):
                    pass
        except TimeoutError:
            return None
        return time.monotonic() - began

    def close(self, number: int) -> None:
        """Close the connection."""
        self._kept.pop(number)[0].close()


def _connected(host: str, port: int, source: str) -> socket.socket:
    return socket.create_connection((host, port), _PATIENCE_S, (source, 0) if source else None)


def _secured(plain: socket.socket, name: str) -> ssl.SSLSocket:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # who it is, is what the server says
    return context.wrap_socket(plain, server_hostname=name or None)


def _greeting(connection: socket.socket, first: str) -> dict[str, object]:
    connection.sendall(first.encode())
    line = _line(connection)
    if not line:
        return {"error": "closed"}
    said: dict[str, object] = json.loads(line)
    return said


def _line(connection: socket.socket) -> bytes:
    found = bytearray()
    while not found.endswith(b"\n") and (data := connection.recv(1)):
        found += data
    return bytes(found)
