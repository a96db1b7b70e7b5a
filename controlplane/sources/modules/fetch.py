"""Fetches modules: from web servers and from registries, each checked by its digest and by what Envoy asks of a module."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field

from controlplane.model.keys import SECRET, Key
from controlplane.objects.extensions.modules import INLINE_BYTES, MOST_BYTES, Module, ModuleSource, UnusableModule
from controlplane.objects.extensions.wasm_format import check_module
from controlplane.sources.fetched.client import GuardedClient, GuardedRequest, Unreachable, UnusableBody
from controlplane.sources.modules.images import image_name
from controlplane.sources.modules.pull_secrets import NoPullSecret, RegistryLogin, registry_login
from controlplane.sources.modules.registry import RegistrySession

MOST_BYTES_IN_ALL = 256 << 20
_REDIRECTS = 3
Entries = Callable[[Key], Awaitable[Mapping[str, bytes]]]  # of a Secret; raises NoPullSecret


@dataclass(frozen=True, slots=True)
class LoadedModule:
    """A module with its content, and what tells whether there is another one where it is from: an ETag, or the digest of a layer."""

    module: Module
    content: bytes = field(compare=False, repr=False)
    tag: str = field(default="", compare=False)


class ModuleFetcher:
    """Fetches modules by ``client`` within ``patience_s``; the ``secrets`` of registries are looked up when they are needed."""

    def __init__(self, client: GuardedClient, secrets: Entries, served_at: str = "", patience_s: float = 60.0) -> None:
        """Fetch nothing yet; modules that are too large to go inline will be ``served_at`` an address, unless that is empty."""
        self._served_at = served_at
        self._client = client
        self._secrets = secrets
        self._patience_s = patience_s
        self._loaded: dict[ModuleSource, LoadedModule] = {}

    def keep(self, wanted: Iterable[ModuleSource]) -> None:
        """Forget the modules of all sources but ``wanted``."""
        wanted = frozenset(wanted)
        self._loaded = {source: loaded for source, loaded in self._loaded.items() if source in wanted}

    def content(self, sha256: str, sources: Iterable[ModuleSource]) -> bytes | None:
        """Return the module with the digest ``sha256``, if one of ``sources`` has it."""
        found = (self._loaded.get(source) for source in sources)
        return next((loaded.content for loaded in found if loaded and loaded.module.sha256 == sha256), None)

    async def __call__(self, source: ModuleSource, _: None = None) -> Module:
        """Return the module at ``source``; raises Forbidden, Unreachable, UnusableModule."""
        try:
            async with asyncio.timeout(self._patience_s):
                loaded = await (self._of_image(source) if source.is_image else self._of_web(source))
        except TimeoutError:
            raise Unreachable(f"no answer within {self._patience_s:g} s") from None
        except UnusableBody as error:
            raise UnusableModule(str(error)) from None
        except NoPullSecret as error:
            raise Unreachable(f"the Secret {source.secret} of the namespace {source.namespace}: {error}") from None
        if loaded.module.inline is None and not self._served_at:
            size = loaded.module.size
            raise UnusableModule(f"it has {size} bytes: of more than {INLINE_BYTES} it has to be served to proxies, by --modules")
        others = {other.module.sha256: other for known, other in self._loaded.items() if known != source}
        same = others.get(loaded.module.sha256)
        if same is None and sum(other.module.size for other in others.values()) + loaded.module.size > MOST_BYTES_IN_ALL:
            raise UnusableModule(f"all modules together have more than {MOST_BYTES_IN_ALL} bytes: some have to go before this one")
        self._loaded[source] = LoadedModule(same.module, same.content, loaded.tag) if same else loaded
        return self._loaded[source].module

    async def _of_web(self, source: ModuleSource) -> LoadedModule:
        before = self._loaded.get(source)
        headers = {"Accept": "application/wasm, */*", **({"If-None-Match": before.tag} if before and before.tag else {})}
        answer = await self._client.get(GuardedRequest(url=source.url, max_bytes=MOST_BYTES, headers=headers, redirects=_REDIRECTS))
        if answer.status == 304 and before is not None:
            return before
        if answer.status != 200:
            raise Unreachable(f"it was answered with status {answer.status}")
        loaded = await self._load(answer.body, answer.headers.get("etag", ""))
        if source.sha256 and source.sha256 != loaded.module.sha256:
            raise UnusableModule(f"its digest is {loaded.module.sha256}, and sha256 says {source.sha256}")
        return loaded

    async def _of_image(self, source: ModuleSource) -> LoadedModule:
        image = image_name(source.url)
        login: RegistryLogin | None = None
        if source.secret:
            login = registry_login(await self._secrets(SECRET.key(source.namespace, source.secret)), image)
        session = RegistrySession(self._client, image, login)
        found = await session.find()
        before = self._loaded.get(source)
        if before is not None and before.tag == found.layer.digest:
            return before
        loaded = await self._load(await session.module(found.layer), found.layer.digest)
        digests = (*found.digests, loaded.module.sha256)
        if source.sha256 and source.sha256 not in digests:
            raise UnusableModule(f"the digest of the image is {digests[0]}, that of its module {digests[-1]}; sha256 says {source.sha256}")
        return loaded

    async def _load(self, content: bytes, tag: str) -> LoadedModule:
        check_module(content)
        sha256 = await asyncio.to_thread(lambda: hashlib.sha256(content).hexdigest())
        if len(content) <= INLINE_BYTES:
            return LoadedModule(Module(sha256, len(content), content), content, tag)
        return LoadedModule(Module(sha256, len(content), None, self._served_at), content, tag)
