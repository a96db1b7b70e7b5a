"""Asks servers that users name: each request alone, and every address is checked at the moment it is dialled."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from controlplane.errors import PlatformError
from controlplane.model.ip_addresses import Address, parse_address
from controlplane.sources.fetched.url_policy import CheckedUrl, Forbidden, UrlPolicy

_LOOKUPS = 4  # names that are looked up at once: a resolver that hangs must not take the threads of others
_PLAIN_BODY = ("", "identity")
_REDIRECTS = (301, 302, 303, 307, 308)


class Unreachable(PlatformError):
    """The server did not answer as it should; the text says what happened."""


class NoTls(Unreachable):
    """The server does not speak TLS, or not as we do."""


class UnusableBody(PlatformError):
    """An answer whose body is not taken in; the text says what was expected."""


class Resolver(Protocol):
    """Looks names up."""

    async def __call__(self, host: str, port: int, family: socket.AddressFamily) -> list[tuple[socket.AddressFamily, str]]:
        """Return the addresses of ``host``, by family; raises OSError."""


class SystemResolver:
    """The system's way to look names up, in threads of its own."""

    def __init__(self) -> None:
        """Start no thread yet."""
        self._threads = ThreadPoolExecutor(_LOOKUPS, thread_name_prefix="fetched-names")

    async def __call__(self, host: str, port: int, family: socket.AddressFamily) -> list[tuple[socket.AddressFamily, str]]:
        """Return the addresses of ``host``."""
        loop = asyncio.get_running_loop()
        address_infos = await loop.run_in_executor(self._threads, lambda: socket.getaddrinfo(host, port, family, socket.SOCK_STREAM))
        return [(family, str(socket_address[0])) for family, _, _, _, socket_address in address_infos]


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardedRequest:
    """A GET of ``url``: with ``headers``, an answer of ``max_bytes`` at most, and at most so many ``redirects`` that are followed.

    ``authorization`` is sent to the host of ``url`` alone, not to those that it redirects to.
    """

    url: str
    max_bytes: int
    headers: Mapping[str, str]
    authorization: str = field(default="", repr=False)
    redirects: int = 0


@dataclass(frozen=True, slots=True)
class FetchAnswer:
    """What a server has answered: by its ``status``, its ``headers`` (their names in lower case), and the ``body`` of a success."""

    status: int
    headers: Mapping[str, str]
    body: bytes = b""


class GuardedClient:
    """Sends requests as far as ``guard`` lets it."""

    def __init__(self, guard: UrlPolicy, tls: ssl.SSLContext, resolve: Resolver) -> None:
        """Ask where ``guard`` allows it, believe who ``tls`` does, and look names up by ``resolve``."""
        self._guard = guard
        self._tls = tls
        self._resolve = resolve

    @property
    def allows_plain(self) -> bool:
        """Return whether there is anything that may be asked without TLS."""
        return self._guard.allows_plain

    async def get(self, request: GuardedRequest) -> FetchAnswer:
        """Return the answer to ``request``, whatever its status; raises Forbidden, Unreachable, UnusableBody."""
        target, authorization = self._guard.target(request.url), request.authorization
        for _ in range(request.redirects + 1):
            answer = await self._send(request, target, authorization)
            location = answer.headers.get("location", "")
            if answer.status not in _REDIRECTS:
                return answer
            if not request.redirects:
                raise Forbidden("it was answered with a redirect, which is not followed: name the address where it leads")
            following = self._guard.target(str(_joined(target.url, location)))
            if following.plain and not target.plain:
                raise Forbidden("it was answered with a redirect from https to http")
            if following.url.origin() != target.url.origin():
                authorization = ""
            target = following
        raise Forbidden(f"it was answered with more than {request.redirects} redirects")

    async def _send(self, request: GuardedRequest, target: CheckedUrl, authorization: str) -> FetchAnswer:
        dialling = _CheckedSockets(self._guard, target)
        connector = aiohttp.TCPConnector(
            ssl=self._tls,
            resolver=_AiohttpResolver(self._resolve),
            use_dns_cache=False,
            socket_factory=dialling.open,
            force_close=True,
        )
        headers = {**request.headers, "Accept-Encoding": "identity", "User-Agent": "navarch"}
        if authorization:
            headers["Authorization"] = authorization
        client = aiohttp.ClientSession(
            connector=connector,
            auto_decompress=False,
            trust_env=False,  # a proxy would dial what we must not
            cookie_jar=aiohttp.DummyCookieJar(),
            headers=headers,
        )
        async with client:
            with dialling.errors_as_unreachable():
                async with client.get(target.url, allow_redirects=False) as response:
                    answer_headers = {name.lower(): value for name, value in response.headers.items()}
                    body = await _body(response, request.max_bytes) if response.status == 200 else b""
                    return FetchAnswer(response.status, answer_headers, body)


class _CheckedSockets:
    """The addresses of one request: each is checked when its socket is made, and connected to as it was checked."""

    def __init__(self, guard: UrlPolicy, target: CheckedUrl) -> None:
        self._guard = guard
        self._target = target
        self._refused: Forbidden | None = None

    def open(self, address_info: aiohttp.AddrInfoType) -> socket.socket:
        """Return a socket for ``address_info``; raises OSError where that is not to be asked."""
        family, kind, protocol, _, address = address_info
        try:
            self._guard.check(self._target, str(address[0]))
        except Forbidden as refusal:
            self._refused = refusal
            raise OSError(str(refusal)) from refusal
        return socket.socket(family, kind, protocol)

    @contextmanager
    def errors_as_unreachable(self) -> Iterator[None]:
        """Turn what goes wrong in the block into Unreachable, or into Forbidden where nothing was dialled."""
        try:
            yield
        except (aiohttp.ClientError, OSError, ValueError) as error:
            if isinstance(error, TimeoutError):
                raise
            if self._refused is not None and isinstance(error, aiohttp.ClientConnectorError):
                raise self._refused from None
            if isinstance(error, aiohttp.ClientSSLError) and not isinstance(error, aiohttp.ClientConnectorCertificateError):
                raise NoTls("it does not speak TLS as we do") from None
            raise Unreachable(_reason(error)) from None


class _AiohttpResolver(AbstractResolver):
    """A resolver in the shape in which aiohttp asks one."""

    def __init__(self, resolve: Resolver) -> None:
        self._resolve = resolve

    async def resolve(self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC) -> list[ResolveResult]:
        """Return the addresses of ``host``."""
        addresses = await self._resolve(host, port, family)
        return [{"hostname": host, "host": address, "port": port, "family": kind, "proto": 0, "flags": 0} for kind, address in addresses]

    async def close(self) -> None:
        """Do nothing: there is nothing open."""


def _joined(url: URL, location: str) -> URL:
    try:
        return url.join(URL(location))
    except ValueError:
        raise Forbidden("it was answered with a redirect to what is no URL") from None


async def _body(response: aiohttp.ClientResponse, max_bytes: int) -> bytes:
    if response.headers.get("Content-Encoding", "").strip().lower() not in _PLAIN_BODY:
        raise UnusableBody("expected a body that is not compressed")
    body = bytearray()
    async for piece in response.content.iter_any():
        body += piece
        if len(body) > max_bytes:
            raise UnusableBody(f"expected at most {max_bytes} bytes")
    return bytes(body)


def _reason(error: Exception) -> str:
    match error:
        case aiohttp.ClientConnectorDNSError():
            return "its host is not known"
        case aiohttp.ClientConnectorCertificateError():
            return f"its certificate is not believed: {str(error.certificate_error)[:200]}"
        case aiohttp.ClientConnectorError():
            return f"no connection: {os.strerror(error.errno)}" if error.errno else "no connection"
        case _:
            return f"the answer broke off or is not HTTP ({type(error).__name__})"


def is_own_address(address: Address) -> bool:
    """Return whether ``address`` is this machine's: then it is what the machine would call itself by in talking to it. Nothing is sent."""
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((str(address), 9))
        except OSError:
            return False  # there is no way to it
        return parse_address(probe.getsockname()[0]) == address
