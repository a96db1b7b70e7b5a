"""Keeps the roots that pods trust: a ConfigMap in every namespace with injection, as Istio has it.

Pods mount it, and Envoys read what is mounted anew when it changes. ``waiting`` tells where the roots of now are yet to come: a rotation
does not go on before.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from controlplane.kube.client import Client
from controlplane.kube.errors import KubernetesError, StatusError
from controlplane.kube.json import Json, section, text
from controlplane.kube.reflector import Changed, Reflector, ReflectorTiming, Replaced, ResourceMissing
from controlplane.kube.resources import CONFIG_MAPS

log = logging.getLogger(__name__)

CONFIG_MAP_NAME = "istio-ca-root-cert"
CONFIG_MAP_ENTRY = "root-cert.pem"
OWNED_LABEL = ("navarch.io/root-cert", "true")  # the label of what we made
SINCE_ANNOTATION = "navarch.io/roots-since"  # the annotation that says since when the content is what it is
_OF_ISTIO = ("istio.io/config", "true")  # istiod labels its own so
_ROUND_S = 1.0


class Held(Protocol):
    """A right that may be lost at any time."""

    @property
    def held(self) -> bool:
        """Return whether it is ours now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RootCertificateInputs:
    """What is to be where."""

    namespaces: Callable[[], frozenset[str] | None]  # with injection; None: not all of them are known yet
    bundle: Callable[[], str]  # PEM
    clock: Callable[[], dt.datetime]
    settle: dt.timedelta = dt.timedelta(seconds=90)  # until a ConfigMap has come to the pods: kubelets look once a minute


@dataclass(frozen=True, slots=True)
class _ConfigMap:
    """One ConfigMap as it is."""

    metadata: Json
    content: str

    @property
    def ours(self) -> bool:
        return self._has(*OWNED_LABEL)

    @property
    def foreign(self) -> bool:
        """Return whether another control plane keeps it."""
        return self._has(*_OF_ISTIO) and not self.ours

    def settled(self, before: dt.datetime) -> bool:
        """Return whether the content has not changed since ``before``, as far as it is known."""
        try:
            return dt.datetime.fromisoformat(text(section(self.metadata, "annotations"), SINCE_ANNOTATION)) <= before
        except (ValueError, TypeError):
            return True

    def _has(self, name: str, value: str) -> bool:
        return text(section(self.metadata, "labels"), name) == value


class RootCertificates:
    """The ConfigMaps, as one replica sees and keeps them."""

    def __init__(self, client: Client, leader: Held, wanted: RootCertificateInputs, reflectors: Mapping[str, Reflector]) -> None:
        """Keep what is ``wanted`` while ``leader`` is held; made by ``roots``."""
        self._client = client
        self._leader = leader
        self._wanted = wanted
        self._reflectors = reflectors
        self._there: dict[str, _ConfigMap] = {}  # by namespace
        self._heard: set[str] = set()  # whose first list has come
        self._news = asyncio.Event()
        self._told: set[str] = set()  # namespaces where somebody else's was met
        self.writes = 0

    async def run(self) -> None:
        """Work until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for where, reflector in self._reflectors.items():
                tasks.create_task(self._follow(where, reflector))
            while True:
                self._news.clear()
                try:
                    await self._round()
                except Exception:  # ours; the next round begins anew
                    log.exception("roots failed")
                try:
                    async with asyncio.timeout(_ROUND_S):
                        await self._news.wait()
                except TimeoutError:
                    continue

    def waiting(self) -> int:
        """Return in how many namespaces pods may not have the roots of now."""
        wanted = self._wanted.namespaces()
        if wanted is None or not self._complete:
            return 1  # at least: nobody knows
        bundle, before = self._wanted.bundle(), self._wanted.clock() - self._wanted.settle
        found = (self._there.get(each) for each in wanted)
        return sum(kept is None or kept.content != bundle or not kept.settled(before) for kept in found)

    @property
    def _complete(self) -> bool:
        return len(self._heard) == len(self._reflectors)

    async def _follow(self, where: str, reflector: Reflector) -> None:
        while True:
            try:
                await reflector.run(partial(self._take, where))
            except ResourceMissing as missing:
                log.warning("roots not read", extra={"reason": str(missing)})
                await asyncio.sleep(_ROUND_S)

    def _take(self, where: str, news: Replaced | Changed) -> None:
        if isinstance(news, Replaced):
            self._heard.add(where)
            self._there = {each: kept for each, kept in self._there.items() if where not in ("", each)}
        for is_there, value in [(True, each) for each in news.items] if isinstance(news, Replaced) else news.events:
            metadata = section(value, "metadata")
            namespace = text(metadata, "namespace")
            if is_there:
                self._there[namespace] = _ConfigMap(metadata, text(section(value, "data"), CONFIG_MAP_ENTRY))
            else:
                self._there.pop(namespace, None)
        self._news.set()

    async def _round(self) -> None:
        wanted, bundle = self._wanted.namespaces(), self._wanted.bundle()
        if wanted is None or not self._complete:
            return  # what is not known yet must not be taken away
        for namespace in sorted(wanted | self._there.keys()):
            if not self._leader.held:
                return
            try:
                await self._settle(namespace, bundle if namespace in wanted else None)
            except KubernetesError as error:  # of one that is being deleted, for one
                log.info("roots not written", extra={"namespace": namespace, "reason": str(error)})

    async def _settle(self, namespace: str, bundle: str | None) -> None:
        """Have ``bundle`` in ``namespace``; ``None``: nothing of ours."""
        kept = self._there.get(namespace)
        if bundle is None:
            if kept and kept.ours:
                await self._remove(namespace, kept)
        elif kept and kept.foreign:
            if namespace not in self._told:
                self._told.add(namespace)
                log.warning("roots are kept by somebody else", extra={"namespace": namespace})
        elif kept is None or not kept.ours or kept.content != bundle:
            await self._write(namespace, kept, bundle)

    async def _remove(self, namespace: str, kept: _ConfigMap) -> None:
        try:
            await self._client.delete(CONFIG_MAPS.path(namespace, CONFIG_MAP_NAME), version=text(kept.metadata, "resourceVersion"))
        except StatusError as error:
            if not (error.not_found or error.conflict):  # the news of it is on its way
                raise
            return
        self.writes += 1
        log.info("roots removed", extra={"namespace": namespace})

    async def _write(self, namespace: str, kept: _ConfigMap | None, bundle: str) -> None:
        metadata: Json = dict(kept.metadata) if kept else {"name": CONFIG_MAP_NAME, "namespace": namespace}
        metadata["labels"] = {**section(metadata, "labels"), OWNED_LABEL[0]: OWNED_LABEL[1]}
        since = self._wanted.clock().strftime("%Y-%m-%dT%H:%M:%SZ")
        metadata["annotations"] = {**section(metadata, "annotations"), SINCE_ANNOTATION: since}
        body: Json = {
            "apiVersion": CONFIG_MAPS.api_version,
            "kind": CONFIG_MAPS.kind,
            "metadata": metadata,
            "data": {CONFIG_MAP_ENTRY: bundle},
        }
        try:
            if kept:
                await self._client.replace(CONFIG_MAPS.path(namespace, CONFIG_MAP_NAME), body)
            else:
                await self._client.create(CONFIG_MAPS.path(namespace), body)
        except StatusError as error:
            if not (error.not_found or error.conflict):
                raise
            return
        self.writes += 1
        log.info("roots written", extra={"namespace": namespace})


def root_certificates(
    client: Client,
    leader: Held,
    wanted: RootCertificateInputs,
    namespaces: tuple[str, ...],
    timing: ReflectorTiming,
    random: Callable[[], float],
) -> RootCertificates:
    """Return what keeps the ``wanted`` roots everywhere, or in ``namespaces`` only."""
    chosen = namespaces or ("",)
    found = {each: Reflector(client, CONFIG_MAPS, timing, random, namespace=each or None, name=CONFIG_MAP_NAME) for each in chosen}
    return RootCertificates(client, leader, wanted, found)
