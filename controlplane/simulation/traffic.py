"""What is simulated: a connection by its addresses and first bytes, and a request on one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple


class Address(NamedTuple):
    """An IP address and a port."""

    ip: str
    port: int

    def __str__(self) -> str:
        """Return the address as Envoy writes it."""
        return f"[{self.ip}]:{self.port}" if ":" in self.ip else f"{self.ip}:{self.port}"


class HttpVersion(StrEnum):
    """What Envoy's HTTP inspector calls the protocol of a connection in the clear."""

    HTTP10 = "http/1.0"
    HTTP11 = "http/1.1"
    HTTP2 = "h2c"  # with prior knowledge: the client begins with the preface of HTTP/2


@dataclass(frozen=True, slots=True)
class TlsHello:
    """A TLS handshake: the server name and the application protocols (ALPN) that the client offers."""

    server_name: str = ""
    protocols: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PlainHttp:
    """A request line, or the preface of HTTP/2."""

    version: HttpVersion = HttpVersion.HTTP11


@dataclass(frozen=True, slots=True)
class RawBytes:
    """Bytes that are neither TLS nor HTTP, with a line end, so that no inspector waits for more."""


@dataclass(frozen=True, slots=True)
class Silence:
    """Nothing: the client waits for the server to begin, as that of MySQL does."""


FirstBytes = TlsHello | PlainHttp | RawBytes | Silence


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientConnection:
    """A connection of a client.

    ``redirected_to`` is where iptables send it, whatever its ``destination`` is; ``None`` where nothing is captured.
    ``principal`` is the URI of the certificate that it shows to who asks for one, as spiffe://cluster.local/ns/shop/sa/web.
    """

    source: Address
    destination: Address
    first_bytes: FirstBytes = PlainHttp()
    redirected_to: Address | None = None
    principal: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A request on ``connection``. ``path`` has the query; ``headers`` are those beside method, authority and path.

    ``claims`` are what its token says, which is taken as valid; ``None``: whether it has one is seen by its headers.
    """

    connection: ClientConnection
    authority: str
    path: str = "/"
    method: str = "GET"
    headers: tuple[tuple[str, str], ...] = ()
    claims: Mapping[str, object] | None = None
