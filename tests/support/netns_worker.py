"""A process within a network namespace that does what a test tells it: listens, serves, connects as some user, runs ``navarch``.

``python -m tests.support.netns_worker`` takes a JSON array a line, a method and its arguments, and answers each with a line of JSON.
"""

from __future__ import annotations

import json
import os
import selectors
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress

from tests.support.netns_calls import Calls
from tests.support.netns_servers import Servers

_ORIGINAL, _TRANSPARENT, _TRANSPARENT_V6 = 80, 19, 75
_PATIENCE_S = 3.0


class Listeners:
    """Sockets that greet whoever comes with their port, and where the connection was meant to go."""

    def __init__(self) -> None:
        self.selector = selectors.DefaultSelector()
        self.lock = threading.Lock()
        self.open: dict[int, list[socket.socket]] = {}
        threading.Thread(target=self._serve, daemon=True).start()

    def listen(self, ports: list[int], uid: int = 0, gid: int = 0, how: str = "") -> None:
        for port in ports:
            for domain, host, loopback in ((socket.AF_INET, "0.0.0.0", "127.0.0.1"), (socket.AF_INET6, "::", "::1")):
                self._open(owned(domain, socket.SOCK_STREAM, uid, gid), (host, port), how)
                # An answer by UDP has to come from where the question was sent to, which is the loopback when a rule has done it.
                self._open(owned(domain, socket.SOCK_DGRAM, uid, gid), (loopback if uid else host, port), "")

    def silence(self, ports: list[int]) -> None:
        with self.lock:
            for port in ports:
                for each in self.open.pop(port, ()):
                    self.selector.unregister(each)
                    each.close()

    def _open(self, made: socket.socket, address: tuple[str, int], how: str) -> None:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        v6 = made.family == socket.AF_INET6
        if v6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if how == "transparent":
            made.setsockopt(socket.IPPROTO_IPV6 if v6 else socket.SOL_IP, _TRANSPARENT_V6 if v6 else _TRANSPARENT, 1)
        made.bind(address)
        made.settimeout(0)
        if made.type == socket.SOCK_STREAM:
            made.listen(64)
        with self.lock:
            self.selector.register(made, selectors.EVENT_READ, address[1])
            self.open.setdefault(address[1], []).append(made)

    def _serve(self) -> None:
        while True:
            for key, _ in self.selector.select(timeout=0.05):
                with self.lock, suppress(OSError):
                    if isinstance(key.fileobj, socket.socket):
                        self._greet(key.fileobj, key.data)

    @staticmethod
    def _greet(listener: socket.socket, port: int) -> None:
        if listener.type == socket.SOCK_DGRAM:
            _, peer = listener.recvfrom(100)
            listener.sendto(json.dumps({"port": port}).encode(), peer)
            return
        taken, peer = listener.accept()
        with taken:
            taken.sendall(json.dumps({"port": port, "meant": original(taken), "from": peer[0]}).encode())


def owned(domain: int, kind: int, uid: int, gid: int) -> socket.socket:
    """Return a socket that the user ``uid`` of the group ``gid`` has opened."""
    os.setegid(gid)
    os.seteuid(uid)
    try:
        return socket.socket(domain, kind)
    finally:
        os.seteuid(0)
        os.setegid(0)


def original(taken: socket.socket) -> list[str | int]:
    """Return where the connection ``taken`` was meant to go."""
    with suppress(OSError):
        if taken.family == socket.AF_INET:
            port, host = struct.unpack("!2xH4s8x", taken.getsockopt(socket.SOL_IP, _ORIGINAL, 16))
            return [socket.inet_ntop(socket.AF_INET, host), port]
        port, host = struct.unpack("!2xH4x16s4x", taken.getsockopt(socket.IPPROTO_IPV6, _ORIGINAL, 28))
        return [socket.inet_ntop(socket.AF_INET6, host), port]
    return list(taken.getsockname()[:2])


def connect(calls: list[tuple[str, str, int, int, int, str]]) -> list[dict[str, object]]:
    """Return by whom each of ``calls`` (protocol, host, port, uid, gid, source address) was greeted."""
    made = [_called(*call) for call in calls]
    return [_greeting(each) if isinstance(each, socket.socket) else {"error": each} for each in made]


def _called(protocol: str, host: str, port: int, uid: int, gid: int, source: str) -> socket.socket | str:
    domain = socket.AF_INET6 if ":" in host else socket.AF_INET
    made = owned(domain, socket.SOCK_DGRAM if protocol == "udp" else socket.SOCK_STREAM, uid, gid)
    made.settimeout(_PATIENCE_S)
    try:
        if source:
            made.bind((source, 0))
        made.connect((host, port))
        if protocol == "udp":
            made.send(b"?")
    except OSError as error:
        made.close()
        return str(error)
    return made


def _greeting(made: socket.socket) -> dict[str, object]:
    with made:
        try:
            said: dict[str, object] = json.loads(made.recv(1000))
        except (OSError, ValueError) as error:
            return {"error": str(error)}
        return said


def navarch(*words: str) -> dict[str, object]:
    """Return how ``navarch`` ends, and what it says."""
    from typer.testing import CliRunner

    from controlplane.cli.main import app

    done = CliRunner().invoke(app, list(words))
    return {"status": done.exit_code, "says": done.output, "error": repr(done.exception) if done.exception else ""}


def state(kind: str) -> list[str]:
    """Return everything of a namespace that interception touches, by the back-end ``kind``."""
    from controlplane.iptables.restore_format import normalized_rules

    found: list[str] = []
    for program in ("iptables", "ip6tables"):
        found += (f"{program} {line}" for line in normalized_rules(shell(f"{program}-{kind}-save")))
    for words in ("-4 rule", "-6 rule", "-4 route show table all proto 133", "-6 route show table all proto 133", "-6 -o addr show dev lo"):
        found += (f"{words}: {line.strip()}" for line in shell(f"ip {words}").splitlines())
    return found


def shell(line: str) -> str:
    """Return what the line of shell prints; it has to succeed."""
    return subprocess.run(line, shell=True, check=True, text=True, capture_output=True).stdout


def main() -> None:
    """Do what comes by standard input until it ends."""
    listeners, servers, calls = Listeners(), Servers(), Calls()
    known: dict[str, Callable[..., object]] = {
        "listen": listeners.listen,
        "silence": listeners.silence,
        "connect": connect,
        "navarch": navarch,
        "state": state,
        "shell": shell,
        **{method.__name__: method for method in (servers.serve, servers.arrived, servers.holds, servers.release)},
        **{method.__name__: method for method in (calls.tcp, calls.tls, calls.http, calls.ask, calls.answer)},
        **{method.__name__: method for method in (calls.keep, calls.say, calls.is_closed, calls.ended, calls.close)},
    }
    for line in sys.stdin:
        method, *arguments = json.loads(line)
        print(json.dumps(known[method](*arguments)), flush=True)


if __name__ == "__main__":
    main()
