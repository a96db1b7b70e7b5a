"""A registry of images, as far as modules need it: it speaks the distribution API over HTTP, with tokens where it has a password."""

from __future__ import annotations

import base64
import contextlib
import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import AsyncIterator, Awaitable, Callable

from aiohttp import web

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
_WASM_LAYER = "application/vnd.module.wasm.content.layer.v1+wasm"
_TOKEN = "a-token"


def digest(content: bytes) -> str:
    """Return the digest of ``content`` as registries write it."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def archive(content: bytes, name: str = "plugin.wasm") -> bytes:
    """Return a layer of a docker image that has ``content`` as the file ``name``."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as file:
        member = tarfile.TarInfo(name)
        member.size = len(content)
        file.addfile(member, io.BytesIO(content))
    return gzip.compress(packed.getvalue(), 1)


class ModuleRegistry:
    """Has images, and counts what it is asked; it also serves files by their path."""

    def __init__(self, password: str = "") -> None:
        """Begin empty; with a ``password`` of the user ``robot`` it gives nothing to others."""
        self.at = ""
        self.asked: list[str] = []
        self.files: dict[str, bytes] = {}
        self.blobs: dict[str, bytes] = {}
        self.manifests: dict[str, tuple[str, bytes]] = {}  # by repository and reference
        self.answers: dict[str, Callable[[web.Request], Awaitable[web.StreamResponse]]] = {}
        self.redirects = False  # layers are kept elsewhere
        self._password = password

    def put(self, repository: str, tag: str, content: bytes) -> str:
        """Have an OCI artifact with the module ``content``; return its digest."""
        return self.put_manifest(repository, tag, OCI_MANIFEST, self._manifest(OCI_MANIFEST, _WASM_LAYER, content))

    def put_docker(self, repository: str, tag: str, content: bytes) -> str:
        """Have a docker image whose one layer has the module ``content``; return its digest."""
        layer = "application/vnd.docker.image.rootfs.diff.tar.gzip"
        return self.put_manifest(repository, tag, DOCKER_MANIFEST, self._manifest(DOCKER_MANIFEST, layer, archive(content)))

    def put_manifest(self, repository: str, tag: str, media_type: str, document: object) -> str:
        """Have the manifest ``document``; return its digest."""
        body = json.dumps(document).encode()
        for reference in (tag, digest(body)):
            self.manifests[f"{repository}/{reference}"] = media_type, body
        return digest(body)

    def _manifest(self, media_type: str, layer_type: str, layer: bytes) -> object:
        self.blobs[digest(layer)] = layer
        layers = [{"mediaType": layer_type, "digest": digest(layer), "size": len(layer)}]
        return {"schemaVersion": 2, "mediaType": media_type, "config": {}, "layers": layers}

    @contextlib.asynccontextmanager
    async def published(self, host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[str]:
        """Serve until the block ends; yield ``host:port``."""
        app = web.Application()
        app.router.add_get("/{path:.*}", self._answer)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1, handler_cancellation=True)
        await runner.setup()
        try:
            await web.TCPSite(runner, host, port).start()
            self.at = f"{host}:{runner.addresses[0][1]}"
            yield self.at
        finally:
            await runner.cleanup()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request.path)
        if answer := self.answers.get(request.path):
            return await answer(request)
        if request.path == "/token":
            return self._token(request)
        if not request.path.startswith("/v2/"):
            return self._found(self.files.get(request.path), "application/wasm", request)
        if self._password and request.headers.get("Authorization") != f"Bearer {_TOKEN}":
            challenge = f'Bearer realm="http://{self.at}/token",service="registry",scope="repository:x:pull"'
            return web.Response(status=401, headers={"WWW-Authenticate": challenge})
        repository, _, reference = request.path.removeprefix("/v2/").rpartition("/")
        repository, _, kind = repository.rpartition("/")
        if kind == "manifests" and (found := self.manifests.get(f"{repository}/{reference}")):
            return web.Response(body=found[1], content_type=found[0])
        if kind == "blobs" and self.redirects:
            self.files[f"/kept/{reference}"] = self.blobs[reference]
            raise web.HTTPTemporaryRedirect(f"http://{self.at}/kept/{reference}")
        return self._found(self.blobs.get(reference), "application/octet-stream", request)

    def _token(self, request: web.Request) -> web.Response:
        wanted = base64.b64encode(f"robot:{self._password}".encode()).decode()
        good = request.headers.get("Authorization") == f"Basic {wanted}" and request.query.get("service") == "registry"
        return web.json_response({"token": _TOKEN}) if good else web.Response(status=401)

    def _found(self, content: bytes | None, content_type: str, request: web.Request) -> web.Response:
        if content is None:
            return web.Response(status=404)
        tag = f'"{digest(content)}"'
        if request.headers.get("If-None-Match") == tag:
            return web.Response(status=304, headers={"ETag": tag})
        return web.Response(body=content, content_type=content_type, headers={"ETag": tag})


def docker_config(registry: str, password: str) -> str:
    """Return the entry ``.dockerconfigjson`` of a Secret for ``registry``, in base64."""
    auth = base64.b64encode(f"robot:{password}".encode()).decode()
    return base64.b64encode(json.dumps({"auths": {registry: {"auth": auth}}}).encode()).decode()
