"""One connection pool to the API server: requests with JSON in and out, and the lines of a watch.

It does not try again by itself, with one exception: after a 401 or a failed TLS handshake the credentials are read anew, once, as tokens
and authorities rotate under us.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlencode

import aiohttp

from controlplane.kube.access import KubernetesAccess, client_configuration, credentials_fingerprint
from controlplane.kube.decode import decode_object
from controlplane.kube.errors import ApiServerUnreachable, NoAccess, StatusError
from controlplane.untyped import Json, number, section, text

if TYPE_CHECKING:
    from kubernetes.aio.client.configuration import Configuration
    from kubernetes.aio.client.rest import RESTResponse

log = logging.getLogger(__name__)

_CREDENTIALS_CHECK_S = 10.0  # how often the files behind the credentials are looked at
_TIMEOUT_S = 30.0
_CONNECT_S = 10.0
_MAX_LINE = 8 << 20  # etcd takes objects of 1.5 MiB
_JSON = "application/json"


@dataclass(frozen=True, slots=True)
class _Request:
    """What is asked, and for how long an answer is waited for."""

    method: str
    url: str
    timeout: aiohttp.ClientTimeout
    body: Json | None = None
    content_type: str = _JSON


class _Pool:
    """Connections by one reading of the credentials, closed when the last request on them is over."""

    def __init__(self, access: KubernetesAccess, configuration: Configuration) -> None:
        from kubernetes.aio.client.rest import RESTClientObject  # here, as in access.py

        configuration.connection_pool_maxsize = 0  # every watch keeps one open
        self.configuration = configuration
        self.signature = credentials_fingerprint(access, configuration)
        self.rest = RESTClientObject(configuration)
        self.retired = False
        self._uses = 0

    @contextlib.asynccontextmanager
    async def used(self) -> AsyncIterator[None]:
        """Keep the connections open for this block."""
        self._uses += 1
        try:
            yield
        finally:
            self._uses -= 1
            await self.close_if_done()

    async def close_if_done(self) -> None:
        """Close the connections if nobody uses them, and nobody will."""
        if self.retired and not self._uses:
            await self.rest.close()


class Client:
    """The API server, by one ``access``."""

    def __init__(self, access: KubernetesAccess, pool: _Pool) -> None:
        """Ask by ``access``, over ``pool``; made by ``connect``."""
        self._access = access
        self._pool = pool
        self._checked_at = time.monotonic()
        self._reloading = asyncio.Lock()
        self._reachable = asyncio.Event()

    @property
    def host(self) -> str:
        """Return where the API server is."""
        return str(self._pool.configuration.host)

    async def get(self, path: str, **query: str) -> Json:
        """Return what is at ``path``; like all of these it raises StatusError and ApiServerUnreachable."""
        return await self._call("GET", _url(path, query))

    async def create(self, path: str, body: Json, **query: str) -> Json:
        """Create ``body`` in the collection at ``path``."""
        return await self._call("POST", _url(path, query), body)

    async def create_and_hear(self, path: str, body: Json, **query: str) -> tuple[str, ...]:
        """Create ``body`` in the collection at ``path``, and return what its writer is warned of, as the headers of the answer say it."""
        async with self._answer(_json_request("POST", _url(path, query), body)) as answer:
            with _unreachable_on_error():
                await answer.read()
            return tuple(answer.headers.getall("Warning", ()))

    async def replace(self, path: str, body: Json) -> Json:
        """Put ``body`` at ``path``; its resourceVersion, if it has one, is the precondition."""
        return await self._call("PUT", path, body)

    async def patch(self, path: str, body: Json) -> Json:
        """Merge ``body`` into what is at ``path``; a resourceVersion in it is a precondition."""
        return await self._call("PATCH", path, body, "application/merge-patch+json")

    async def delete(self, path: str, version: str = "") -> None:
        """Delete what is at ``path``; with ``version`` only if that is its resourceVersion."""
        await self._call("DELETE", path, {"preconditions": {"resourceVersion": version}} if version else None)

    async def lines(self, path: str, *, idle_s: float, **query: str) -> AsyncIterator[tuple[bytes, ...]]:
        """Yield the lines of the watch at ``path``, all that have come at once; raises ApiServerUnreachable after ``idle_s`` of silence.

        The first yield has none: it says that the watch is open.
        """
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_S, sock_read=idle_s)
        async with self._answer(_Request("GET", _url(path, query), timeout)) as answer:
            yield ()
            rest = b""
            while True:
                with _unreachable_on_error():
                    data = await answer.content.readany()
                if not data:
                    break
                *complete, rest = (rest + data).split(b"\n")
                if len(rest) > _MAX_LINE:
                    raise ApiServerUnreachable(f"a line of the watch is longer than {_MAX_LINE} bytes")
                if complete:
                    yield tuple(complete)
            if rest:
                raise ApiServerUnreachable("the watch broke off in the middle of a line")

    async def wait_until_reachable(self) -> None:
        """Wait until the API server, which was unreachable, has answered a request well."""
        await self._reachable.wait()

    async def close(self) -> None:
        """Close all connections."""
        self._pool.retired = True
        await self._pool.close_if_done()

    async def _call(self, method: str, url: str, body: Json | None = None, content_type: str = _JSON) -> Json:
        async with self._answer(_json_request(method, url, body, content_type)) as answer:
            with _unreachable_on_error():
                data = await answer.read()
        return decode_object(data) if data else {}

    @contextlib.asynccontextmanager
    async def _answer(self, request: _Request) -> AsyncIterator[aiohttp.ClientResponse]:
        await self._check_credentials()
        for last in (False, True):
            pool = self._pool
            async with pool.used():
                try:
                    answer = await _send(pool, request)
                except ApiServerUnreachable as error:
                    if last or not isinstance(error.__cause__, (aiohttp.ClientConnectorCertificateError, ssl.SSLError)):
                        raise
                else:
                    async with answer:
                        if answer.status < 400:
                            self._reachable.set()  # wakes those who wait now
                            self._reachable.clear()
                            yield answer
                            return
                        refused = await _refusal(answer)
                    if last or refused.status != 401:
                        raise refused
            await self._reload_credentials(pool)

    async def _check_credentials(self) -> None:
        """Read the credentials anew if their files have changed."""
        if time.monotonic() - self._checked_at > _CREDENTIALS_CHECK_S:
            self._checked_at = time.monotonic()
            if credentials_fingerprint(self._access, self._pool.configuration) != self._pool.signature:
                try:
                    await self._reload_credentials(self._pool)
                except NoAccess as error:  # half of a rotation; what we have may still be good
                    log.warning("credentials cannot be read", extra={"reason": str(error)})

    async def _reload_credentials(self, old: _Pool) -> None:
        async with self._reloading:
            if self._pool is not old:
                return  # another task has
            self._pool = await _pool(self._access)
            old.retired = True
            await old.close_if_done()
            log.info("credentials read anew", extra={"server": self.host})


@contextlib.asynccontextmanager
async def connect(access: KubernetesAccess) -> AsyncIterator[Client]:
    """Give a client by ``access`` for the block; raises NoAccess. Nothing is asked yet."""
    client = Client(access, await _pool(access))
    try:
        yield client
    finally:
        await client.close()


async def _pool(access: KubernetesAccess) -> _Pool:
    configuration = await client_configuration(access)
    try:
        return _Pool(access, configuration)
    except OSError as error:  # of which those of TLS are some
        raise NoAccess(f"the certificates for {configuration.host} cannot be used: {error}") from error


@contextlib.contextmanager
def _unreachable_on_error() -> Iterator[None]:
    try:
        yield
    except TimeoutError as error:
        raise ApiServerUnreachable("the API server did not answer in time") from error
    except (aiohttp.ClientError, OSError, ValueError) as error:
        raise ApiServerUnreachable(str(error)[:300] or type(error).__name__) from error


async def _send(pool: _Pool, request: _Request) -> aiohttp.ClientResponse:
    send: Callable[..., Awaitable[RESTResponse]] = pool.rest.request  # without annotations of its own
    headers = {"Accept": _JSON, "Content-Type": request.content_type, "User-Agent": "navarch"}
    if credential := await pool.configuration.get_api_key_with_prefix("BearerToken"):
        headers["Authorization"] = credential
    with _unreachable_on_error():
        url = pool.configuration.host + request.url
        sent = await send(request.method, url, headers=headers, body=request.body, _request_timeout=request.timeout)
    response: aiohttp.ClientResponse = sent.response
    return response


def _json_request(method: str, url: str, body: Json | None = None, content_type: str = _JSON) -> _Request:
    return _Request(method, url, aiohttp.ClientTimeout(total=_TIMEOUT_S, sock_connect=_CONNECT_S), body, content_type)


def _url(path: str, query: Mapping[str, str]) -> str:
    return f"{path}?{urlencode(query)}" if query else path


async def _refusal(answer: aiohttp.ClientResponse) -> StatusError:
    with _unreachable_on_error():
        data = await answer.read()
    try:
        status = decode_object(data)
    except ApiServerUnreachable:
        status = {}  # a proxy in between has a message of its own
    retry_after = answer.headers.get("Retry-After", "")
    seconds = float(retry_after) if retry_after.isdecimal() else float(number(section(status, "details"), "retryAfterSeconds")) or None
    return StatusError(answer.status, text(status, "reason") or answer.reason or "", text(status, "message")[:1000], seconds)
