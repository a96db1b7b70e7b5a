"""Images of registries, as far as they hold modules: how they are named, which layer has the module, and the module in it.

https://github.com/opencontainers/distribution-spec/blob/main/spec.md
https://github.com/solo-io/wasm/blob/master/spec/README.md
"""

from __future__ import annotations

import io
import re
import tarfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from controlplane.objects.extensions.modules import MOST_BYTES, OCI, UnusableModule
from controlplane.untyped import section

MANIFESTS = (
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
INDEXES = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)
_MODULES = ("application/vnd.module.wasm.content.layer.v1+wasm", "application/wasm")
_FILE = "plugin.wasm"
_MOST_FILES = 1000
_DOCKER = "docker.io"
_DOCKER_REGISTRY = "registry-1.docker.io"
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}\Z")
_PATH = re.compile(r"[a-z0-9]+(?:[._-]+[a-z0-9]+)*(?:/[a-z0-9]+(?:[._-]+[a-z0-9]+)*)*\Z")
_TAG = re.compile(r"\w[\w.-]{0,127}\Z", re.ASCII)
_GZIP = 16 + zlib.MAX_WBITS


@dataclass(frozen=True, slots=True)
class ImageName:
    """An image: the ``registry`` as users name it, the ``host`` that is asked, the repository's ``path``, and a tag or digest."""

    registry: str
    host: str
    path: str
    reference: str

    @property
    def digest(self) -> str:
        """Return the digest that it is named by, empty where it is named by a tag."""
        return self.reference if _DIGEST.match(self.reference) else ""


@dataclass(frozen=True, slots=True)
class Layer:
    """The layer with the module: its ``digest``, its ``size``, and whether it ``is_module`` itself or an archive with it."""

    digest: str
    size: int
    is_module: bool


def image_name(url: str) -> ImageName:
    """Return the image that ``url`` names; raises UnusableModule."""
    text, _, digest = url.removeprefix(OCI).partition("@")
    first, slash, rest = text.partition("/")
    registry, path = (first, rest) if slash and ("." in first or ":" in first or first == "localhost") else (_DOCKER, text)
    before, _, last = path.rpartition("/")
    last, _, tag = last.partition(":")
    path = f"{before}/{last}" if before else last
    if registry in (_DOCKER, "index.docker.io"):
        registry, path = _DOCKER, path if "/" in path else f"library/{path}"
    reference = digest or tag or "latest"
    if not _PATH.match(path) or not (_DIGEST if digest else _TAG).match(reference):
        raise UnusableModule("expected an image such as oci://registry.example/plugins/auth:1.0 or …@sha256:…")
    return ImageName(registry, _DOCKER_REGISTRY if registry == _DOCKER else registry, path, reference)


def chosen_manifest(index: Mapping[str, object]) -> str:
    """Return the digest of the one manifest of ``index`` that is for WebAssembly, or for what proxies run on; raises UnusableModule."""
    entries = list(_descriptors(index.get("manifests")))
    for wanted in ("wasm", "amd64"):
        for entry in entries:
            if section(entry, "platform").get("architecture") == wanted:
                return _digest(entry)
    if len(entries) != 1:
        raise UnusableModule("expected an image for wasm or amd64 in the index of the image")
    return _digest(entries[0])


def module_layer(manifest: Mapping[str, object]) -> Layer:
    """Return the layer of ``manifest`` that has the module; raises UnusableModule."""
    layers = list(_descriptors(manifest.get("layers")))
    if not layers:
        raise UnusableModule("expected an image with a layer")
    layer = next((layer for layer in layers if layer.get("mediaType") in _MODULES), layers[-1])
    size = layer.get("size")
    if not isinstance(size, int) or not 0 < size <= MOST_BYTES:
        raise UnusableModule(f"expected a layer of at most {MOST_BYTES} bytes")
    return Layer(_digest(layer), size, layer.get("mediaType") in _MODULES)


def module_of_archive(layer: bytes) -> bytes:
    """Return the module in the archive ``layer``, compressed or not; raises UnusableModule. It takes long for a large one."""
    try:
        with tarfile.open(fileobj=io.BytesIO(_decompressed(layer)), mode="r:") as archive:
            for number, member in enumerate(archive):
                if number == _MOST_FILES:
                    break
                if member.isfile() and member.name.removeprefix("./") == _FILE and member.size <= MOST_BYTES:
                    content = archive.extractfile(member)
                    return content.read() if content else b""
    except (tarfile.TarError, zlib.error, EOFError):
        raise UnusableModule("expected a layer that is a tar archive, compressed by gzip or not") from None
    raise UnusableModule(f"expected a layer with a file {_FILE}")


def _decompressed(layer: bytes) -> bytes:
    if not layer.startswith(b"\x1f\x8b"):
        return layer
    decompressor = zlib.decompressobj(_GZIP)
    content = decompressor.decompress(layer, MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise UnusableModule(f"expected a layer of at most {MOST_BYTES} bytes once it is decompressed")
    return content


def _descriptors(listed: object) -> Iterator[Mapping[str, object]]:
    yield from (entry for entry in listed if isinstance(entry, dict)) if isinstance(listed, list) else ()


def _digest(descriptor: Mapping[str, object]) -> str:
    digest = descriptor.get("digest")
    if not isinstance(digest, str) or not _DIGEST.match(digest):
        raise UnusableModule("expected digests by SHA-256 in the manifest of the image")
    return digest
