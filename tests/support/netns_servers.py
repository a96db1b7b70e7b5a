"""Servers of a test that say who they are and count what comes, by raw TCP and HTTP/1.1, and by TLS where they have a certificate.

A server of TCP greets with a line of JSON as soon as a connection is there, and then sends back what it gets. One of HTTP has the same in
the body, and what it was asked; it answers ``/hold`` when it is told to.
"""

from __future__ import annotations

import http.server
import json
import socket
import socketserver
import ssl
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from weakref import WeakKeyDictionary

_AT_ONCE = 256  # connections that may wait to be taken


class Servers:
    """The servers of this process."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.taken: Counter[str] = Counter()  # connections of TCP and requests of HTTP, by who took them
        self.held: Counter[str] = Counter()  # requests for /hold that wait for their answers, by who has them
        self.go_on = threading.Event()

    def serve(self, who: str, host: str, port: int, protocol: str, certificate: str = "") -> None:
        """Listen at ``port`` of ``host`` as ``who``; the folder ``certificate``, where one is given, is what is shown by TLS."""
        made = _Server(self, who, (host, port), Path(certificate) if certificate else None)
        if protocol == "http":
            made.handle = _answered
        threading.Thread(target=made.serve_forever, args=(0.05,), daemon=True).start()

    def take(self, who: str) -> None:
        """Count what has come to ``who``."""
        with self.lock:
            self.taken[who] += 1

    def arrived(self) -> dict[str, int]:
        """Return how many connections of TCP and requests of HTTP have come, by who took them."""
        with self.lock:
            return dict(self.taken)

    def holds(self) -> dict[str, int]:
        """Return how many requests wait for their answers, by who has them."""
        with self.lock:
            return dict(self.held)

    def release(self) -> None:
        """Answer what is held, and what comes from now on, at once."""
        self.go_on.set()


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = _AT_ONCE

    def __init__(self, all_of_them: Servers, who: str, address: tuple[str, int], certificate: Path | None) -> None:
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self.servers = all_of_them
        self.who = who
        self.names: WeakKeyDictionary[ssl.SSLSocket | ssl.SSLObject, str] = WeakKeyDictionary()  # that were asked for
        self.context = self._context(certificate) if certificate else None
        self.handle: Callable[[_Server, socket.socket, dict[str, object]], None] = _echoed
        super().__init__(address, socketserver.BaseRequestHandler)

    def finish_request(self, request: socket.socket | tuple[bytes, socket.socket], client_address: object) -> None:
        """Answer a connection (in a thread of its own)."""
        del client_address
        assert isinstance(request, socket.socket)
        if self.handle is _echoed:
            self.servers.take(self.who)
        with suppress(OSError), self.context.wrap_socket(request, server_side=True) if self.context else request as connection:
            name = self.names.get(connection, "") if isinstance(connection, ssl.SSLSocket) else ""
            peer, own = connection.getpeername(), connection.getsockname()
            self.handle(self, connection, {"who": self.who, "source": peer[0], "at": own[0], "port": own[1], "name": name})

    def _context(self, certificate: Path) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate / "tls.crt", certificate / "tls.key")

        def asked(connection: ssl.SSLSocket | ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> None:
            self.names[connection] = name or ""

        context.sni_callback = asked
        return context


def _echoed(_: _Server, connection: socket.socket, greeting: dict[str, object]) -> None:
    connection.sendall(json.dumps(greeting).encode() + b"\n")
    while data := connection.recv(65536):
        connection.sendall(data)


def _answered(server: _Server, connection: socket.socket, greeting: dict[str, object]) -> None:
    _Request(connection, greeting, server)


class _Request(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def __init__(self, connection: socket.socket, greeting: dict[str, object], server: _Server) -> None:
        self.greeting = greeting
        self.own = server
        super().__init__(connection, connection.getpeername(), server)

    def do_GET(self) -> None:
        self.own.servers.take(self.own.who)
        if self.path == "/hold":
            self._hold()
        seen = {"path": self.path, "headers": {name.lower(): value for name, value in self.headers.items()}}
        content = json.dumps({**self.greeting, **seen}).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _hold(self) -> None:
        servers = self.own.servers
        with servers.lock:
            servers.held[self.own.who] += 1
        servers.go_on.wait()
        with servers.lock:
            servers.held[self.own.who] -= 1

    def log_message(self, *_: object) -> None:
        """Say nothing."""
