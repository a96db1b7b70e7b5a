"""Between a control plane and an API server: hands everything on, but for what it is told to spoil."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import json
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec

from controlplane.ca.certificates import authority, server_certificate
from tests.support.api_servers import ApiServer

_HOP = {"connection", "transfer-encoding", "content-length", "keep-alive", "host"}


class Relay:
    """One relay; what it does to requests is in its fields, which may change at any time."""

    def __init__(self, own: ApiServer, folder: Path) -> None:
        """Lead to ``own``; its certificate and its kubeconfig are kept in ``folder``."""
        self._own = own
        self._folder = folder
        self.answer: tuple[int, dict[str, str]] | None = None  # the status and headers that are answered to everything
        self.refused: dict[str, int] = {}  # the status that is answered to requests about a path, or what is below it
        self.expired: set[str] = set()  # collections whose next watch is answered 410
        self.down = False  # connections are cut as soon as they are there
        self.delay_s = 0.0  # before each answer
        self.lag_s = 0.0  # of what watches say
        self.token: str | None = None  # who shows another is answered 401
        self.asked: list[tuple[str, str]] = []  # method and path of each request
        self._watches: set[web.StreamResponse] = set()
        self._silent: set[web.StreamResponse] = set()
        self._watched: set[str] = set()
        self._said: dict[web.StreamResponse, list[bytes]] = {}
        self._connections: set[asyncio.Transport] = set()

    @property
    def kubeconfig(self) -> Path:
        """Return the kubeconfig that leads to it."""
        return self._folder / "kubeconfig-relay.yaml"

    @property
    def token_file(self) -> Path:
        """Return the file that the kubeconfig takes its token from."""
        return self._folder / "token"

    @contextlib.asynccontextmanager
    async def listening(self) -> AsyncIterator[Relay]:
        """Relay until the block ends."""
        app = web.Application(client_max_size=64 << 20)
        app.router.add_route("*", "/{path:.*}", self._handle)
        runner = web.AppRunner(app, shutdown_timeout=0.2, handler_cancellation=True)
        await runner.setup()
        self._issue()
        await self._listen(runner, 0)
        self._write_kubeconfig()
        trust = ssl.create_default_context(cafile=str(self._own.ca_file))
        trust.check_hostname = False
        connector = aiohttp.TCPConnector(ssl=trust, limit=0)
        async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(), auto_decompress=False) as self._session:
            try:
                yield self
            finally:
                self.cut()
                await runner.cleanup()

    async def rotate_authority(self) -> None:
        """Listen with a certificate of a new authority, which the kubeconfig's file names from now on; connections are cut."""
        self._issue()
        await self._site.stop()
        self.cut()
        await self._listen(self._runner, self._port)

    def cut(self) -> None:
        """Cut all connections."""
        self._watches.clear()
        for each in tuple(self._connections):
            each.abort()

    def silence(self) -> None:
        """Let nothing more of the watches that are open get through, not even their end; their connections stay open."""
        self._silent |= self._watches

    def expire(self) -> None:
        """Cut all connections, and answer the next watch of every collection with 410."""
        self.expired = set(self._watched)
        self.cut()

    async def replay(self) -> None:
        """Say again what the watches that are open have said, the latest first."""
        for each, lines in tuple(self._said.items()):
            for line in reversed(lines):
                with contextlib.suppress(ConnectionError):
                    await each.write(line)

    async def say(self, line: bytes) -> int:
        """Write ``line`` into every watch that is open; return how many there were."""
        watches = tuple(self._watches)
        for each in watches:
            with contextlib.suppress(ConnectionError):
                await each.write(line)
        return len(watches)

    @property
    def whole(self) -> bool:
        """Return whether every collection that was ever watched is watched now."""
        return len(self._watches) == len(self._watched)

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        transport = request.transport
        assert isinstance(transport, asyncio.Transport)
        self._connections.add(transport)
        try:
            return await self._relayed(request)
        except (aiohttp.ClientError, ConnectionError):
            transport.abort()
            return web.Response(status=502)
        finally:
            self._connections.discard(transport)

    async def _relayed(self, request: web.Request) -> web.StreamResponse:
        self.asked.append((request.method, request.path_qs))
        if self.down:
            raise ConnectionResetError
        if self.token is not None and request.headers.get("Authorization") != f"Bearer {self.token}":
            return _status(401, {})
        if self.answer is not None:
            return _status(*self.answer)
        for path, status in self.refused.items():
            if request.path.startswith(path):
                return _status(status, {})
        if request.path in self.expired and "watch=true" in request.path_qs:
            self.expired.discard(request.path)
            return _status(410, {})
        await asyncio.sleep(self.delay_s)
        headers = {name: value for name, value in request.headers.items() if name.lower() not in _HOP}
        headers["Authorization"] = f"Bearer {self._own.token}"
        body = await request.read()
        async with self._session.request(request.method, self._own.url + request.path_qs, headers=headers, data=body or None) as found:
            kept = {name: value for name, value in found.headers.items() if name.lower() not in _HOP}
            response = web.StreamResponse(status=found.status, headers=kept)
            await response.prepare(request)
            watching = "watch=true" in request.path_qs and found.status == 200
            await (self._watch(request.path, found, response) if watching else _copy(found, response))
            return response

    async def _watch(self, path: str, found: aiohttp.ClientResponse, response: web.StreamResponse) -> None:
        self._watches.add(response)
        self._watched.add(path)
        self._said[response] = []
        rest = b""
        try:
            async for data in found.content.iter_any():
                await asyncio.sleep(self.lag_s)
                if response not in self._silent:
                    await response.write(data)
                    lines = (rest + data).split(b"\n")
                    rest = lines.pop()
                    self._said[response] += [line + b"\n" for line in lines if b'"ERROR"' not in line]
            if response in self._silent:
                await asyncio.Event().wait()  # until it is hung up on
        finally:
            self._watches.discard(response)
            self._silent.discard(response)
            self._said.pop(response, None)

    async def _listen(self, runner: web.AppRunner, port: int) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self._folder / "relay.crt", self._folder / "relay.key")
        self._runner, self._site = runner, web.TCPSite(runner, "127.0.0.1", port, ssl_context=context)
        await self._site.start()
        self._port = runner.addresses[0][1]

    def _issue(self) -> None:
        now, lifetime = dt.datetime.now(dt.UTC), dt.timedelta(days=1)
        issuer = authority("relay", ec.generate_private_key(ec.SECP256R1()), now, lifetime)
        pair = server_certificate(issuer, ("localhost",), ec.generate_private_key(ec.SECP256R1()), now, lifetime)
        for name, content in (("relay.crt", pair.certificate), ("relay.key", pair.key), ("relay-ca.crt", issuer.pem)):
            (self._folder / name).write_bytes(content)

    def _write_kubeconfig(self) -> None:
        value = json.loads(self._own.kubeconfig().read_text())
        where = {"server": f"https://localhost:{self._port}", "certificate-authority": str(self._folder / "relay-ca.crt")}
        value["clusters"][0]["cluster"] = where
        self.token_file.write_text("first")
        value["users"][0]["user"] = {"tokenFile": str(self.token_file)}
        self.kubeconfig.write_text(json.dumps(value))


def _status(code: int, headers: dict[str, str]) -> web.Response:
    status = {"kind": "Status", "code": code, "reason": "Injected", "message": "by the test"}
    return web.json_response(status, status=code, headers=headers)


async def _copy(found: aiohttp.ClientResponse, response: web.StreamResponse) -> None:
    async for data in found.content.iter_any():
        await response.write(data)
