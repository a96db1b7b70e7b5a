"""A small application that registers itself in Consul or etcd, and says that it is well as long as it runs.

    python app.py --consul http://127.0.0.1:8500 --port 8081 --version v1
    python app.py --etcd http://127.0.0.1:2379 --port 8081 --version v2

It needs nothing but Python. `/health` answers 200; every other path says which version has answered.
"""

from __future__ import annotations

import argparse
import base64
import json
import signal
import threading
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit


def main() -> None:
    """Serve, and keep the registration alive until it is told to end."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--consul")
    parser.add_argument("--etcd")
    parser.add_argument("--name", default="hello")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--version", default="v1")
    parser.add_argument("--ttl", type=int, default=10, help="seconds after which it is taken for dead when nothing is heard of it")
    told = parser.parse_args()

    server = ThreadingHTTPServer((told.host, told.port), type("Handler", (Application,), {"version": told.version}))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    stop = threading.Event()
    registration = Consul(told) if told.consul else Etcd(told)
    for number in (signal.SIGTERM, signal.SIGINT):  # first: who ends it at once finds the registration taken back too
        signal.signal(number, lambda *_: stop.set())
    registration.register()
    while not stop.wait(told.ttl / 3):
        registration.refresh()
    registration.deregister()


class Application(BaseHTTPRequestHandler):
    """Answers requests, by HTTP."""

    protocol_version = "HTTP/1.1"
    version = ""

    def do_GET(self) -> None:
        """Say which version has answered."""
        body = b"" if self.path == "/health" else json.dumps({"version": self.version}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class Consul:
    """A registration with a check by TTL: it turns critical when nothing has been heard for that long."""

    def __init__(self, told: argparse.Namespace) -> None:
        """Register what ``told`` says."""
        self.told = told
        self.id = f"{told.name}-{told.host}-{told.port}"

    def register(self) -> None:
        """Register, for as long as it is refreshed."""
        told = self.told
        body = {
            "ID": self.id,
            "Name": told.name,
            "Address": told.host,
            "Port": told.port,
            "Meta": {"protocol": "http", "version": told.version},
            "Check": {"TTL": f"{told.ttl}s", "Status": "passing", "DeregisterCriticalServiceAfter": "1m"},
        }
        ask("PUT", told.consul, "/v1/agent/service/register", body)

    def refresh(self) -> None:
        """Say that all is well."""
        ask("PUT", self.told.consul, f"/v1/agent/check/pass/service:{self.id}")

    def deregister(self) -> None:
        """Take the registration back."""
        ask("PUT", self.told.consul, f"/v1/agent/service/deregister/{self.id}")


class Etcd:
    """A key as gRPC's naming writes it, with a lease: it goes when nothing has been heard for that long."""

    def __init__(self, told: argparse.Namespace) -> None:
        """Register what ``told`` says."""
        self.told = told
        self.lease = ""

    def register(self) -> None:
        """Register, for as long as it is refreshed."""
        told = self.told
        self.lease = ask("POST", told.etcd, "/v3/lease/grant", {"TTL": told.ttl})["ID"]
        address = f"{told.host}:{told.port}"
        value = {"Op": 0, "Addr": address, "Metadata": {"protocol": "http", "version": told.version}}
        pair = {"key": encoded(f"/services/{told.name}/{address}"), "value": encoded(json.dumps(value)), "lease": self.lease}
        ask("POST", told.etcd, "/v3/kv/put", pair)

    def refresh(self) -> None:
        """Say that all is well."""
        ask("POST", self.told.etcd, "/v3/lease/keepalive", {"ID": self.lease})

    def deregister(self) -> None:
        """Take the registration back."""
        ask("POST", self.told.etcd, "/v3/lease/revoke", {"ID": self.lease})


def ask(method: str, server: str, path: str, body: object = None) -> dict[str, str]:
    """Return the answer of ``server`` about ``path``, as JSON."""
    url = urlsplit(server)
    connection = HTTPConnection(url.hostname or "", url.port, timeout=5)
    try:
        connection.request(method, path, json.dumps(body).encode() if body else b"")
        answer = connection.getresponse()
        content = answer.read()
        if answer.status != 200:
            raise SystemExit(f"{server} answers {answer.status}: {content.decode()}")
        found: dict[str, str] = json.loads(content or b"{}")
        return found
    finally:
        connection.close()


def encoded(text: str) -> str:
    """Return ``text`` in base64, as etcd's JSON has it."""
    return base64.b64encode(text.encode()).decode()


if __name__ == "__main__":
    main()
