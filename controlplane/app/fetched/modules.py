"""Assembles the fetch of modules in WebAssembly, with the Secrets that their registries want, and shows its state."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import TypeAlias

from controlplane.admin.http_server import HttpServer
from controlplane.admin.schemas import ModuleRow
from controlplane.app.api_server import ApiServer
from controlplane.app.fetched.jwks import trusting
from controlplane.kube.reflector import ReflectorTiming
from controlplane.mesh.facts import FetchedModule
from controlplane.model.keys import SECRET, Key
from controlplane.objects.extensions.modules import Module, ModuleSource, UnusableModule
from controlplane.serve.identity import IdentityServer
from controlplane.serve.modules import PeerTls, ServedModules
from controlplane.serve.sds.secret_stores import CredentialStore, FileSecrets, WatchedSecrets
from controlplane.settings import ModuleSettings
from controlplane.sources.fetched.client import GuardedClient, SystemResolver, is_own_address
from controlplane.sources.fetched.refresh import Content, Fetched, Refresher, RefreshInputs, RefreshTiming, redacted_url
from controlplane.sources.fetched.url_policy import UrlPolicy, parse_allowed
from controlplane.sources.modules.fetch import ModuleFetcher
from controlplane.sources.modules.pull_secrets import NoPullSecret

ModuleRefresher: TypeAlias = Refresher[ModuleSource, None, Module]
Submit: TypeAlias = Callable[[str, Iterable[FetchedModule]], None]
_NAME = "modules"
_AT_A_TIME = 4
_TIMING = RefreshTiming(refresh_s=60.0, good_s=float("inf"), again_at_most_s=60.0)
_CONTENT: Content[ModuleSource] = Content(
    name=_NAME,
    most=200,
    unusable=UnusableModule,
    shown=lambda source: redacted_url(source.url),
    fixed=lambda source: source.fixed,
)


class Modules:
    """Keeps the modules that objects name."""

    def __init__(self, settings: ModuleSettings, files: FileSecrets, api: ApiServer | None) -> None:
        """Fetch by ``settings``; registries' Secrets are those of ``files``, and of ``api`` where there is one. Raises BadTrustRoots."""
        guard = UrlPolicy(map(parse_allowed, settings.allow), is_own_address, content=_NAME, option="--wasm-allow")
        self._watched = WatchedSecrets(api.client, ReflectorTiming.silent(api.settings.watch_timeout_s), random.random) if api else None
        self._stores: tuple[CredentialStore, ...] = (files, *([self._watched] if self._watched else ()))
        client = GuardedClient(guard, trusting(settings.roots), SystemResolver())
        self._fetcher = ModuleFetcher(client, self._entries, settings.reached_at or settings.address or "")
        self._address = settings.address
        self._server: HttpServer | None = None
        inputs: RefreshInputs[ModuleSource, None, Module] = RefreshInputs(
            fetch=self._fetcher, clock=time.monotonic, sleep=asyncio.sleep, random=random.random
        )
        self._refresher: ModuleRefresher = Refresher(_CONTENT, inputs, _TIMING, _AT_A_TIME)
        self._wanted: frozenset[ModuleSource] = frozenset()
        for store in self._stores:
            store.on_change(self._secret_changed)

    def want(self, sources: Collection[ModuleSource]) -> None:
        """Keep the modules at ``sources`` from now on, and no others."""
        unneeded = {key for source in self._wanted if (key := _secret(source))} - {_secret(source) for source in sources}
        self._wanted = frozenset(sources)
        self._fetcher.keep(sources)
        self._refresher.want(dict.fromkeys(sources))
        for store in self._stores:
            for key in unneeded:
                store.unwatch(key)

    def open(self, identities: IdentityServer | None) -> None:
        """Open the port where large modules are served to those who have a certificate of ``identities``; raises OSError."""
        if self._address and identities:
            served = ServedModules(lambda sha256: self._fetcher.content(sha256, self._wanted))
            self._server = HttpServer(served, self._address, PeerTls(identities.server_certificate), option="--modules")
            self._server.open()

    def close(self) -> None:
        """Close the port, if it is open and nobody is served there."""
        if self._server:
            self._server.close()

    @property
    def outcomes(self) -> Mapping[str, int]:
        """Return how many attempts at fetching ended how."""
        return self._refresher.outcomes

    def rows(self) -> list[ModuleRow]:
        """Return what may be seen of the modules that objects name, sorted."""
        now = time.monotonic()
        states = sorted(self._refresher.states().items(), key=lambda entry: (entry[0].url, str(entry[0])))
        return [
            ModuleRow(
                url=redacted_url(source.url),
                usable=state.fetched.value is not None,
                age_s=None if state.fetched_at is None else now - state.fetched_at,
                failures=state.failures,
                error=state.fetched.failure or None,
                again_in_s=max(0.0, state.due - now) if state.due != float("inf") else 0.0,
            )
            for source, state in states
        ]

    async def run(self, submit: Submit) -> None:
        """Hand what is fetched to ``submit``, until cancelled."""

        def deliver(fetched: Mapping[ModuleSource, Fetched[Module]]) -> None:
            submit(_NAME, [FetchedModule(source, each.value, each.failure) for source, each in fetched.items()])

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._refresher.run(deliver))
            if self._server:
                tasks.create_task(self._server.run())
            if self._watched:
                tasks.create_task(self._watched.run())

    async def _entries(self, key: Key) -> Mapping[str, bytes]:
        trouble = ""
        for store in self._stores:
            await store.watch(key)
            entries = store.entries(key)
            if entries is not None:
                return entries
            trouble = store.trouble(key) or trouble
        raise NoPullSecret(f"it cannot be read: {trouble}" if trouble else "there is none, or it has no entry .dockerconfigjson")

    def _secret_changed(self, key: Key) -> None:
        self._refresher.hurry([source for source in self._wanted if _secret(source) == key])


def _secret(source: ModuleSource) -> Key | None:
    return SECRET.key(source.namespace, source.secret) if source.secret else None
