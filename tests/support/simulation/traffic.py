"""Random connections and requests, which aim at what a configuration has, and sometimes beside it."""

from __future__ import annotations

from random import Random

from controlplane.simulation.traffic import (
    Address,
    ClientConnection,
    FirstBytes,
    HttpVersion,
    PlainHttp,
    RawBytes,
    Request,
    Silence,
    TlsHello,
)
from tests.support.simulation.bed import INBOUND, INBOUND_NETWORK, OUTBOUND, OUTBOUND_NETWORK
from tests.support.simulation.inner import Call
from tests.support.simulation.manifests import HEADERS, METHODS, PATHS, PORTS, VALUES, Configuration

_KINDS = ("http1", "http1", "http1", "http2", "http2", "http10", "tls", "tls", "tls", "raw", "silent")
_PIECES = (
    "api",
    "v1",
    "API",
    "..",
    ".",
    "%2e%2e",
    "..%2fapi",
    "x%5C..%5Cy",
    "a\\b",
    "%61pi",
    "",
    "~",
    "%7Ea",
    "a.b",
    "...",
    "%zz",
    "a;b=1",
    "%20",
    "%2",
)


def call(random: Random, made: Configuration) -> Call:
    """Return a random call."""
    inbound = bool(made.own) and random.random() < 0.25
    return {
        "source": f"10.{INBOUND_NETWORK if inbound else OUTBOUND_NETWORK}.{random.randint(0, 3)}.{random.randint(1, 250)}",
        "destination": random.choice(made.own if inbound else made.addresses),
        "port": random.choice((*PORTS, *PORTS, 7777, 8000 + random.choice(PORTS) % 1000)),
        "kind": random.choice(_KINDS),
        "server_name": random.choice((*made.hosts, "")),
        "protocols": random.choice(([], ["h2", "http/1.1"], ["http/1.1"], ["istio"])),
        "method": random.choice(METHODS),
        "authority": _authority(random, made),
        "path": random.choice((*PATHS, *PATHS, _odd_path(random), "/api/v1/7", "/none")),
        "headers": [(name, random.choice(VALUES)) for name in random.sample(HEADERS, random.choice((0, 0, 1, 2)))],
        "certificate": "",
    }


def _odd_path(random: Random) -> str:
    """Return a path that may be normalized, with a query or without."""
    path = "".join(f"/{random.choice(_PIECES)}" for _ in range(random.randint(1, 4)))
    return path + random.choice(("", "", "?q=1", "?q=jane&q=2", "?p=/../x"))


def _authority(random: Random, made: Configuration) -> str:
    host = random.choice((*made.hosts, *made.hosts, *made.addresses))
    match random.randint(0, 5):
        case 0:
            return f"{host}:{random.choice(PORTS)}"
        case 1:
            return host.upper()
        case _:
            return host


def simulated(given: Call, port: int) -> ClientConnection | Request:
    """Return ``given``, made from ``port``, as it is simulated."""
    connection = ClientConnection(
        source=Address(given["source"], port),
        destination=Address(given["destination"], given["port"]),
        first_bytes=_first_bytes(given),
        redirected_to=Address("127.0.0.1", INBOUND if given["source"].startswith(f"10.{INBOUND_NETWORK}.") else OUTBOUND),
    )
    if given["kind"] not in {"http1", "http10", "http2"}:
        return connection
    return Request(
        connection=connection,
        authority=given["authority"],
        path=given["path"],
        method=given["method"],
        headers=tuple((name, value) for name, value in given["headers"]),
    )


def _first_bytes(given: Call) -> FirstBytes:
    match given["kind"]:
        case "tls":
            return TlsHello(given["server_name"], tuple(given["protocols"]))
        case "http1":
            return PlainHttp(HttpVersion.HTTP11)
        case "http10":
            return PlainHttp(HttpVersion.HTTP10)
        case "http2":
            return PlainHttp(HttpVersion.HTTP2)
        case "silent":
            return Silence()
        case _:
            return RawBytes()
