"""Modules in WebAssembly: where objects say that they are from, and what is there."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from controlplane.errors import UserError
from controlplane.objects.extensions.wasm_plugin import Wasm

FILE = "file://"
OCI = "oci://"
_SCHEMES = ("file", "oci", "http", "https")
MOST_BYTES = 64 << 20  # of one module
INLINE_BYTES = 4 << 20  # up to which a module goes with the configuration


class ModuleSource(NamedTuple):
    """Where a module is fetched from: with another secret, or another digest, it is another source.

    ``url`` has a scheme; ``secret`` is the Secret of the ``namespace`` that has the registry's passwords. ``always``: a tag is looked up
    again from time to time, as somebody may have moved it.
    """

    url: str
    sha256: str = ""
    namespace: str = ""  # empty where there is no secret
    secret: str = ""
    always: bool = False

    @property
    def is_image(self) -> bool:
        """Return whether it is an image of a registry."""
        return self.url.startswith(OCI)

    @property
    def fixed(self) -> bool:
        """Return whether what is there never changes, or is not to be looked at again."""
        return bool(self.sha256) or "@sha256:" in self.url or not self.always


@dataclass(frozen=True, slots=True)
class Module:
    """A module that was fetched and checked; two are equal where their digests are.

    Its content is here only as far as it goes ``inline``; a larger one is ``served_at`` an address, HOST:PORT.
    """

    sha256: str
    size: int
    inline: bytes | None = field(default=None, compare=False, repr=False)
    served_at: str = ""


class UnusableModule(UserError):
    """What was fetched is not the module that is meant, or none that an Envoy would load; the text says what was expected."""


def module_url(wasm: Wasm) -> str:
    """Return where ``wasm`` is from, with the scheme of an image where there is none."""
    scheme, _, rest = wasm.url.partition(":")
    if scheme.lower() not in _SCHEMES:
        return OCI + wasm.url
    return f"{scheme.lower()}://{rest.removeprefix('//')}"


def module_source(wasm: Wasm, namespace: str) -> ModuleSource | None:
    """Return from where the module of ``wasm``, in an object of ``namespace``, is fetched; ``None`` where proxies have it themselves."""
    url = module_url(wasm)
    if url.startswith(FILE):
        return None
    image = url.startswith(OCI)
    secret = wasm.image_pull_secret or "" if image else ""
    tag = url.rpartition("/")[2].partition(":")[2] or "latest"
    by_default = image and tag == "latest"
    always = wasm.image_pull_policy == "Always" or (by_default and wasm.image_pull_policy != "IfNotPresent")
    return ModuleSource(url, wasm.sha256, namespace if secret else "", secret, always)
