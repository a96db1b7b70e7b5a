"""HTTP to a registry: bounded answers, TLS by files that may be rotated, and failures in words that name no secret."""

from __future__ import annotations

import asyncio
import contextlib
import os
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import NamedTuple, TypeAlias

import aiohttp
import orjson

from controlplane.errors import PlatformError
from controlplane.settings import RegistryTls

Params: TypeAlias = Mapping[str, str]
_CONNECT_S = 5.0
_MAX_SECRET = 16_384  # bytes of a file with a token or a password
_MAX_EXCERPT = 200  # characters of an answer that are told


class RegistryUnreachable(PlatformError):
    """The registry did not answer as it should; the text says what happened. ``status`` is that of HTTP, 0 where there is none."""

    def __init__(self, reason: str, status: int = 0) -> None:
        """Say ``reason``."""
        super().__init__(reason)
        self.status = status


class HttpAnswer(NamedTuple):
    """A good answer: its body, and its headers."""

    body: bytes
    headers: Mapping[str, str]

    def json(self) -> object:
        """Return the JSON of the body; raises RegistryUnreachable."""
        return json_of(self.body)


def json_of(body: bytes) -> object:
    """Return the JSON in ``body``; raises RegistryUnreachable."""
    try:
        found: object = orjson.loads(body)
    except ValueError:
        raise RegistryUnreachable("its answer is not JSON") from None
    return found


class SecretFile:
    """A token or a password in a file, read again whenever the file has changed."""

    def __init__(self, path: str) -> None:
        """Read ``path`` when asked."""
        self._path = path
        self._seen: tuple[int, int, int] | None = None
        self._secret = ""

    def read(self) -> str:
        """Return what the file says; raises RegistryUnreachable."""
        try:
            state = Path(self._path).stat()
            seen = (state.st_mtime_ns, state.st_size, state.st_ino)
            if seen != self._seen:
                with Path(self._path).open("rb") as file:
                    content = file.read(_MAX_SECRET + 1)
                self._secret, self._seen = _secret(content), seen
        except (OSError, ValueError) as error:
            reason = error.strerror or "unreadable" if isinstance(error, OSError) else str(error)
            raise RegistryUnreachable(f"{self._path} cannot be read: {reason}") from None
        return self._secret


def _secret(content: bytes) -> str:
    if len(content) > _MAX_SECRET:
        raise ValueError(f"expected at most {_MAX_SECRET} bytes")
    text = content.decode("ascii", "replace").strip()
    if not text or not text.isprintable() or not text.isascii():
        raise ValueError("expected one line of printable characters")
    return text


def _state(path: str | None) -> tuple[int, int] | None:
    """Return what tells the file ``path`` from an earlier one, ``None`` where there is none."""
    if path is None:
        return None
    try:
        found = Path(path).stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size


def tls_context(tls: RegistryTls) -> ssl.SSLContext:
    """Return the context for ``tls``; raises OSError (SSLError among them) where a file is not as it should be."""
    context = ssl.create_default_context(cafile=tls.roots)
    if tls.certificate:
        context.load_cert_chain(tls.certificate, tls.key)
    return context


class RegistryHttp:
    """One session with the server at ``base``."""

    def __init__(self, base: str, tls: RegistryTls, headers: Callable[[], Mapping[str, str]], connections: int) -> None:
        """Ask at ``base`` with ``headers``, over so many ``connections`` at most."""
        self.base = base.rstrip("/")
        self._tls = tls
        self._headers = headers
        self._connections = connections
        self._session: aiohttp.ClientSession | None = None
        self._state: tuple[tuple[int, int] | None, ...] = ()

    async def close(self) -> None:
        """Close all connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def get(self, path: str, params: Params, *, most: int, timeout_s: float) -> HttpAnswer:
        """Return the answer to a GET of ``path``, of at most ``most`` bytes, within ``timeout_s``; raises RegistryUnreachable."""
        async with self._request("GET", path, params, None, timeout_s) as answer:
            return HttpAnswer(await _body(answer, most), answer.headers)

    async def post(self, path: str, body: Mapping[str, object], *, most: int, timeout_s: float) -> HttpAnswer:
        """Return the answer, of at most ``most`` bytes, to a POST of ``body`` to ``path``; raises RegistryUnreachable."""
        async with self._request("POST", path, {}, body, timeout_s) as answer:
            return HttpAnswer(await _body(answer, most), answer.headers)

    async def lines(self, path: str, body: Mapping[str, object], *, most: int, idle_s: float) -> AsyncGenerator[bytes]:
        """Yield the lines of the answer to a POST of ``body`` to ``path``, and nothing whenever none came for ``idle_s``.

        A line has at most ``most`` bytes. Raises RegistryUnreachable.
        """
        async with contextlib.AsyncExitStack() as stack:
            try:
                async with asyncio.timeout(idle_s):
                    answer = await stack.enter_async_context(self._request("POST", path, {}, body, None))
            except TimeoutError:
                raise RegistryUnreachable(f"no answer to {path} in time") from None
            rest = b""
            while not answer.content.at_eof():
                try:
                    async with asyncio.timeout(idle_s):
                        piece = await answer.content.readany()
                except TimeoutError:
                    yield b""
                    continue
                *whole, rest = (rest + piece).split(b"\n")
                for line in filter(None, whole):
                    yield line
                if len(rest) > most:
                    raise RegistryUnreachable(f"expected lines of at most {most} bytes")

    @contextlib.asynccontextmanager
    async def _request(
        self, method: str, path: str, params: Params, body: Mapping[str, object] | None, timeout_s: float | None
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        headers = self._headers()
        try:
            async with (await self._open()).request(
                method,
                self.base + path,
                params=params,
                json=body,
                headers=headers,
                allow_redirects=False,
                server_hostname=self._tls.server_name,
                timeout=aiohttp.ClientTimeout(total=timeout_s, sock_connect=_CONNECT_S),
            ) as answer:
                if answer.status != 200:
                    raise RegistryUnreachable(f"it answered {answer.status} to {path}: {await _excerpt(answer)}", answer.status)
                yield answer
        except TimeoutError:
            raise RegistryUnreachable(f"no answer to {path} in time") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise RegistryUnreachable(_reason(error)) from None

    async def _open(self) -> aiohttp.ClientSession:
        """Return the session, a new one where the files of TLS have changed."""
        state = tuple(map(_state, self._tls.files)) if self.base.startswith("https:") else ()
        if self._session is None or state != self._state:
            context = tls_context(self._tls) if state else None
            await self.close()
            self._state = state
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(ssl=context or True, limit=self._connections, keepalive_timeout=60.0),
                auto_decompress=False,
                trust_env=False,
                cookie_jar=aiohttp.DummyCookieJar(),
                headers={"Accept": "application/json", "Accept-Encoding": "identity", "User-Agent": "navarch"},
            )
        return self._session


async def _body(answer: aiohttp.ClientResponse, most: int) -> bytes:
    body = bytearray()
    async for piece in answer.content.iter_any():
        body += piece
        if len(body) > most:
            raise RegistryUnreachable(f"expected an answer of at most {most} bytes")
    return bytes(body)


async def _excerpt(answer: aiohttp.ClientResponse) -> str:
    content = await answer.content.read(_MAX_EXCERPT)
    text = content.decode("utf-8", "replace").strip()
    return text if text.isprintable() else repr(text)[1:-1]


def _reason(error: Exception) -> str:
    match error:
        case aiohttp.ClientConnectorDNSError():
            return "its host is not known"
        case aiohttp.ClientConnectorCertificateError():
            return f"its certificate is not believed: {str(error.certificate_error)[:_MAX_EXCERPT]}"
        case aiohttp.ClientConnectorError():
            return f"no connection: {os.strerror(error.errno)}" if error.errno else "no connection"
        case ssl.SSLError():
            return f"its TLS: {str(error)[:_MAX_EXCERPT]}"
        case aiohttp.ClientError():
            return f"the answer broke off or is not HTTP ({type(error).__name__})"
        case OSError():
            return error.strerror or type(error).__name__
        case _:
            return f"the answer is not HTTP ({type(error).__name__})"
