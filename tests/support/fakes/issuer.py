"""An issuer of tokens: real keys, and a real HTTP server that publishes them, or misbehaves."""

from __future__ import annotations

import contextlib
import json
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

import jwt
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

KEYS = "/keys"
DISCOVERY = "/.well-known/openid-configuration"
Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Issuer:
    """Signs tokens with its newest key, and publishes the public half of it."""

    def __init__(self, name: str = "https://issuer.example") -> None:
        self.name = name
        self.asked: list[str] = []
        self.answers: dict[str, Answer] = {}
        self.at = ""
        self._number = 0
        self._old: list[dict[str, object]] = []  # keys that are published besides the one that signs
        self.rotate()

    def rotate(self) -> None:
        """Sign by a new key from now on, and forget the old one."""
        self._number += 1
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._old = []

    def overlap(self) -> None:
        """Sign by a new key from now on, and publish the one before it too."""
        before = self._published()
        self.rotate()
        self._old = [before]

    @property
    def keys(self) -> dict[str, object]:
        """Return the key set."""
        return {"keys": [*self._old, self._published()]}

    @property
    def jwks(self) -> str:
        """Return the key set as JSON."""
        return json.dumps(self.keys)

    def token(self, **claims: object) -> str:
        """Return a token with ``claims``: where they say nothing, of somebody, and for an hour."""
        now = int(time.time())
        said = {"iss": self.name, "sub": "somebody", "iat": now - 60, "exp": now + 3600, **claims}
        return jwt.encode(said, self._key, "ES256", {"kid": f"key-{self._number}"})

    @contextlib.asynccontextmanager
    async def published(self, host: str = "127.0.0.1", port: int = 0, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
        """Publish the keys until the block ends; yield the address as a URL without a path."""
        app = web.Application()
        app.router.add_get("/{path:.*}", self._answer)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1, handler_cancellation=True)
        await runner.setup()
        try:
            site = web.TCPSite(runner, host, port, ssl_context=tls)
            await site.start()
            bound = runner.addresses[0][1]
            self.at = f"{'https' if tls else 'http'}://{host}:{bound}"
            yield self.at
        finally:
            await runner.cleanup()

    def _published(self) -> dict[str, object]:
        public = ECAlgorithm.to_jwk(self._key.public_key(), as_dict=True)
        return {**public, "kid": f"key-{self._number}", "alg": "ES256", "use": "sig"}

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request.path)
        if answer := self.answers.get(request.path):
            return await answer(request)
        found: Mapping[str, Mapping[str, object]] = {KEYS: self.keys, DISCOVERY: {"issuer": self.at, "jwks_uri": self.at + KEYS}}
        return web.json_response(found[request.path]) if request.path in found else web.Response(status=404)
