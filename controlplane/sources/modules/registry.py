"""Asks a registry for the module of an image: its manifest, then the one layer that is needed.

https://github.com/opencontainers/distribution-spec/blob/main/spec.md
https://distribution.github.io/distribution/spec/auth/token/
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlencode

from controlplane.objects.extensions.modules import UnusableModule
from controlplane.objects.reading.json import decode_json
from controlplane.objects.reading.yaml import UnreadableError
from controlplane.sources.fetched.client import FetchAnswer, GuardedClient, GuardedRequest, NoTls, Unreachable
from controlplane.sources.modules.images import INDEXES, MANIFESTS, ImageName, Layer, chosen_manifest, module_layer, module_of_archive
from controlplane.sources.modules.pull_secrets import RegistryLogin

_MOST_MANIFEST = 4 << 20
_MOST_TOKEN = 1 << 20
_REDIRECTS = 3  # registries keep layers elsewhere
_CHALLENGE = re.compile(r'(\w+)="([^"]*)"')


@dataclass(frozen=True, slots=True)
class FoundImage:
    """What a manifest says: the layer with the module, and the digests that stand for the image."""

    layer: Layer
    digests: tuple[str, ...]  # without `sha256:`


class RegistrySession:
    """One visit to the registry of ``image``; who asks is told by ``login`` where the registry wants to know."""

    def __init__(self, client: GuardedClient, image: ImageName, login: RegistryLogin | None) -> None:
        """Ask nothing yet."""
        self._client = client
        self._image = image
        self._login = login
        self._authorization = ""
        self._scheme = "https"

    async def find(self) -> FoundImage:
        """Return what the registry has as the image; raises Forbidden, Unreachable, UnusableBody, UnusableModule."""
        manifest, digest = await self._manifest(self._image.reference)
        digests = [digest]
        if manifest.get("mediaType") in INDEXES or ("manifests" in manifest and "layers" not in manifest):
            manifest, digest = await self._manifest(chosen_manifest(manifest))
            digests.append(digest)
        return FoundImage(module_layer(manifest), tuple(digests))

    async def module(self, layer: Layer) -> bytes:
        """Return the module in ``layer``; raises Forbidden, Unreachable, UnusableBody, UnusableModule."""
        answer = await self._ask(f"blobs/{layer.digest}", layer.size, "*/*")
        if await asyncio.to_thread(_sha256, answer.body) != layer.digest.removeprefix("sha256:"):
            raise UnusableModule("the registry has answered with a layer that has not the digest that its manifest names")
        return answer.body if layer.is_module else await asyncio.to_thread(module_of_archive, answer.body)

    async def _manifest(self, reference: str) -> tuple[Mapping[str, object], str]:
        answer = await self._ask(f"manifests/{reference}", _MOST_MANIFEST, ", ".join((*MANIFESTS, *INDEXES)))
        digest = _sha256(answer.body)
        if reference.startswith("sha256:") and reference != f"sha256:{digest}":
            raise UnusableModule("the registry has answered with a manifest that has not the digest that it was asked for")
        return _document(answer.body, "a manifest"), digest

    async def _ask(self, path: str, max_bytes: int, accept: str) -> FetchAnswer:
        answer = await self._get(path, max_bytes, accept)
        if answer.status == 401:
            self._authorization = await self._authorized(answer.headers.get("www-authenticate", ""))
            answer = await self._get(path, max_bytes, accept)
        if answer.status in (401, 403):
            raise Unreachable(f"the registry refuses it (status {answer.status}): {self._advice}")
        if answer.status == 404:
            raise Unreachable(f"the registry has no {path.partition('/')[0].removesuffix('s')} of {self._image.path} by this name")
        if answer.status != 200:
            raise Unreachable(f"the registry has answered with status {answer.status}")
        return answer

    @property
    def _advice(self) -> str:
        if self._login is None:
            return "name a Secret with its password as imagePullSecret"
        return "the password of the imagePullSecret is not good for it"

    async def _get(self, path: str, max_bytes: int, accept: str) -> FetchAnswer:
        def request() -> GuardedRequest:
            return GuardedRequest(
                url=f"{self._scheme}://{self._image.host}/v2/{self._image.path}/{path}",
                max_bytes=max_bytes,
                headers={"Accept": accept},
                authorization=self._authorization,
                redirects=_REDIRECTS,
            )

        try:
            return await self._client.get(request())
        except NoTls:
            if self._scheme != "https" or not self._client.allows_plain:
                raise
        self._scheme = "http"
        return await self._client.get(request())

    async def _authorized(self, challenge: str) -> str:
        """Return what answers ``challenge``: a token, or the password itself."""
        scheme, _, rest = challenge.partition(" ")
        if scheme.lower() == "basic" and self._login is not None:
            return self._login.header
        parameters = dict(_CHALLENGE.findall(rest))
        realm = parameters.get("realm", "")
        if scheme.lower() != "bearer" or not realm:
            raise Unreachable(f"the registry wants to know who asks: {self._advice}")
        asked = {name: parameters[name] for name in ("service", "scope") if name in parameters}
        url = f"{realm}{'&' if '?' in realm else '?'}{urlencode(asked)}"
        login = self._login.header if self._login else ""
        answer = await self._client.get(
            GuardedRequest(url=url, max_bytes=_MOST_TOKEN, headers={"Accept": "application/json"}, authorization=login)
        )
        if answer.status != 200:
            raise Unreachable(f"the registry's token server refuses a token (status {answer.status}): {self._advice}")
        document = _document(answer.body, "a token")
        token = document.get("token") or document.get("access_token")
        if not isinstance(token, str) or not token.isascii() or not token.isprintable():
            raise Unreachable("the registry's token server has answered without a token")
        return f"Bearer {token}"


def _document(body: bytes, what: str) -> Mapping[str, object]:
    try:
        document = decode_json(body.decode())
    except (ValueError, UnreadableError):
        raise UnusableModule(f"expected JSON as {what} of the registry") from None
    if not isinstance(document, dict):
        raise UnusableModule(f"expected a JSON object as {what} of the registry")
    return document


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
