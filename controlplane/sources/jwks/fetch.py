"""Fetches the keys of an issuer: one GET, of a key set or of the document that says where that is."""

from __future__ import annotations

import asyncio
import ssl

from controlplane.objects.security.jwks import DISCOVERY, MAX_TIMEOUT_MS, UnusableKeys, discovered_jwks_url, public_keys
from controlplane.sources.fetched.client import GuardedClient, GuardedRequest, Resolver, Unreachable, UnusableBody
from controlplane.sources.fetched.url_policy import UrlPolicy

MAX_BYTES = 1 << 20


class JwksFetcher:
    """Fetches key sets by HTTP, as far as ``guard`` lets it."""

    def __init__(self, guard: UrlPolicy, tls: ssl.SSLContext, resolve: Resolver, patience_s: float = 5.0) -> None:
        """Ask where ``guard`` allows it, believe who ``tls`` does, look names up by ``resolve``, and wait ``patience_s`` in all."""
        self._client = GuardedClient(guard, tls, resolve)
        self._patience_s = patience_s

    async def __call__(self, uri: str, timeout_ms: int | None = None) -> str:
        """Return the key set at ``uri``, or where the discovery document there says, within ``timeout_ms`` where that is given.

        Raises Forbidden, Unreachable, UnusableKeys.
        """
        patience_s = self._patience_s if timeout_ms is None else min(timeout_ms, MAX_TIMEOUT_MS) / 1000
        try:
            async with asyncio.timeout(patience_s):
                if uri.endswith(DISCOVERY):
                    return public_keys(await self._get(discovered_jwks_url(await self._get(uri), uri.removesuffix(DISCOVERY))))
                return public_keys(await self._get(uri))
        except TimeoutError:
            raise Unreachable(f"no answer within {patience_s:g} s") from None

    async def _get(self, url: str) -> str:
        try:
            answer = await self._client.get(GuardedRequest(url=url, max_bytes=MAX_BYTES, headers={"Accept": "application/json"}))
        except UnusableBody as error:
            raise UnusableKeys(str(error)) from None
        if answer.status != 200:
            raise Unreachable(f"it was answered with status {answer.status}")
        try:
            return answer.body.decode()
        except UnicodeDecodeError:
            raise UnusableKeys("expected JSON in UTF-8") from None
