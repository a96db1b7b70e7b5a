"""Fetches the keys of an issuer: one GET, whose every address is checked at the moment it is dialled."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Protocol

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from controlplane.model.ip_addresses import Address, parse_address
from controlplane.objects.security.jwks import DISCOVERY, MAX_TIMEOUT_MS, UnusableKeys, discovered_jwks_url, public_keys
from controlplane.sources.jwks.url_policy import CheckedUrl, Forbidden, UrlPolicy

MAX_BYTES = 1 << 20
_LOOKUPS = 4  # names that are looked up at once: a resolver that hangs must not take the threads of others
_PLAIN_BODY = ("", "identity")


class IssuerUnreachable(Exception):
    """The issuer did not answer as it should; the text says what happened."""


class Resolver(Protocol):
    """Looks names up."""

    async def __call__(self, host: str, port: int, family: socket.AddressFamily) -> list[tuple[socket.AddressFamily, str]]:
        """Return the addresses of ``host``, by family; raises OSError."""


class SystemResolver:
    """The system's way to look names up, in threads of its own."""

    def __init__(self) -> None:
        """Start no thread yet."""
        self._threads = ThreadPoolExecutor(_LOOKUPS, thread_name_prefix="jwks-names")

    async def __call__(self, host: str, port: int, family: socket.AddressFamily) -> list[tuple[socket.AddressFamily, str]]:
        """Return the addresses of ``host``."""
        loop = asyncio.get_running_loop()
        address_infos = await loop.run_in_executor(self._threads, lambda: socket.getaddrinfo(host, port, family, socket.SOCK_STREAM))
        return [(family, str(socket_address[0])) for family, _, _, _, socket_address in address_infos]


class JwksFetcher:
    """Fetches key sets by HTTP, as far as ``guard`` lets it."""

    def __init__(self, guard: UrlPolicy, tls: ssl.SSLContext, resolve: Resolver, patience_s: float = 5.0) -> None:
        """Ask where ``guard`` allows it, believe who ``tls`` does, look names up by ``resolve``, and wait ``patience_s`` in all."""
        self._guard = guard
        self._tls = tls
        self._resolve = resolve
        self._patience_s = patience_s

    async def __call__(self, uri: str, timeout_ms: int | None = None) -> str:
        """Return the key set at ``uri``, or where the discovery document there says, within ``timeout_ms`` where that is given.

        Raises Forbidden, Unreachable, Unusable.
        """
        patience_s = self._patience_s if timeout_ms is None else min(timeout_ms, MAX_TIMEOUT_MS) / 1000
        try:
            async with asyncio.timeout(patience_s):
                if uri.endswith(DISCOVERY):
                    return public_keys(await self._get(discovered_jwks_url(await self._get(uri), uri.removesuffix(DISCOVERY))))
                return public_keys(await self._get(uri))
        except TimeoutError:
            raise IssuerUnreachable(f"no answer within {patience_s:g} s") from None

    async def _get(self, url: str) -> str:
        target = self._guard.target(url)
        dialling = _CheckedSockets(self._guard, target)
        connector = aiohttp.TCPConnector(
            ssl=self._tls,
            resolver=_AiohttpResolver(self._resolve),
            use_dns_cache=False,
            socket_factory=dialling.open,
            force_close=True,
        )
        client = aiohttp.ClientSession(
            connector=connector,
            auto_decompress=False,
            trust_env=False,  # a proxy would dial what we must not
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"Accept": "application/json", "Accept-Encoding": "identity", "User-Agent": "navarch"},
        )
        async with client:
            with dialling.errors_as_unreachable():
                async with client.get(target.url, allow_redirects=False) as answer:
                    return await _body(answer)


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
            raise IssuerUnreachable(_reason(error)) from None


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


async def _body(answer: aiohttp.ClientResponse) -> str:
    if 300 <= answer.status < 400:
        raise Forbidden("it was answered with a redirect, which is not followed: name the address where the keys are")
    if answer.status != 200:
        raise IssuerUnreachable(f"it was answered with status {answer.status}")
    if answer.headers.get("Content-Encoding", "").strip().lower() not in _PLAIN_BODY:
        raise UnusableKeys("expected a body that is not compressed")
    body = bytearray()
    async for piece in answer.content.iter_any():
        body += piece
        if len(body) > MAX_BYTES:
            raise UnusableKeys(f"expected at most {MAX_BYTES} bytes")
    try:
        return body.decode()
    except UnicodeDecodeError:
        raise UnusableKeys("expected JSON in UTF-8") from None


def _reason(error: Exception) -> str:
    match error:
        case aiohttp.ClientConnectorDNSError():
            return "its host is not known"
        case aiohttp.ClientConnectorCertificateError():
            return f"its certificate is not believed: {str(error.certificate_error)[:200]}"
        case aiohttp.ClientSSLError():
            return "it does not speak TLS as we do"
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
