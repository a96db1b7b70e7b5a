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

from controlplane.kube.client import Client
from controlplane.kube.errors import KubernetesError, StatusError
from controlplane.kube.lease import Leadership
from controlplane.kube.reflector import Changed, Reflector, ReflectorTiming, Replaced, ResourceMissing
from controlplane.kube.resources import CONFIG_MAPS
from controlplane.telemetry import OngoingFailure
from controlplane.untyped import Json, section, text

log = logging.getLogger(__name__)

CONFIG_MAP_NAME = "istio-ca-root-cert"
CONFIG_MAP_ENTRY = "root-cert.pem"
OWNED_LABEL = ("navarch.io/root-cert", "true")  # the label of what we made
SINCE_ANNOTATION = "navarch.io/roots-since"  # the annotation that says since when the content is what it is
_OF_ISTIO = ("istio.io/config", "true")  # istiod labels its own so
_ROUND_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RootCertificateInputs:
    """Which roots are to be in which namespaces, as the rest of the control plane has it."""

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

    def __init__(self, client: Client, leader: Leadership, inputs: RootCertificateInputs, reflectors: Mapping[str, Reflector]) -> None:
        """Keep what ``inputs`` say while ``leader`` is held; made by ``root_certificates``."""
        self._client = client
        self._leader = leader
        self._inputs = inputs
        self._reflectors = reflectors
        self._config_maps: dict[str, _ConfigMap] = {}  # by namespace
        self._listed: set[str] = set()  # whose first list has come
        self._changed = asyncio.Event()
        self._reported_foreign: set[str] = set()  # namespaces where somebody else's was met
        self._failure = OngoingFailure(log, "roots not written", "roots written again")
        self.writes = 0

    async def run(self) -> None:
        """Work until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for namespace, reflector in self._reflectors.items():
                tasks.create_task(self._watch(namespace, reflector))
            while True:
                self._changed.clear()
                try:
                    await self._round()
                except Exception:  # internal error; the next round begins anew
                    log.exception("roots failed")
                try:
                    async with asyncio.timeout(_ROUND_S):
                        await self._changed.wait()
                except TimeoutError:
                    continue

    def waiting(self) -> int:
        """Return in how many namespaces pods may not have the roots of now."""
        namespaces = self._inputs.namespaces()
        if namespaces is None or not self._complete:
            return 1  # at least: nobody knows
        bundle, deadline = self._inputs.bundle(), self._inputs.clock() - self._inputs.settle
        config_maps = (self._config_maps.get(namespace) for namespace in namespaces)
        return sum(config_map is None or config_map.content != bundle or not config_map.settled(deadline) for config_map in config_maps)

    @property
    def _complete(self) -> bool:
        return len(self._listed) == len(self._reflectors)

    async def _watch(self, watched: str, reflector: Reflector) -> None:
        while True:
            try:
                await reflector.run(partial(self._apply, watched))
            except ResourceMissing as missing:
                log.warning("roots not read", extra={"reason": str(missing)})
                await asyncio.sleep(_ROUND_S)

    def _apply(self, watched: str, news: Replaced | Changed) -> None:
        if isinstance(news, Replaced):
            self._listed.add(watched)
            self._config_maps = {
                namespace: config_map for namespace, config_map in self._config_maps.items() if watched not in ("", namespace)
            }
        for is_there, document in [(True, listed) for listed in news.items] if isinstance(news, Replaced) else news.events:
            metadata = section(document, "metadata")
            namespace = text(metadata, "namespace")
            if is_there:
                self._config_maps[namespace] = _ConfigMap(metadata, text(section(document, "data"), CONFIG_MAP_ENTRY))
            else:
                self._config_maps.pop(namespace, None)
        self._changed.set()

    async def _round(self) -> None:
        namespaces, bundle = self._inputs.namespaces(), self._inputs.bundle()
        if namespaces is None or not self._complete:
            return  # what is not known yet must not be taken away
        failed: dict[str, KubernetesError] = {}
        for namespace in sorted(namespaces | self._config_maps.keys()):
            if not self._leader.is_leader:
                return
            try:
                await self._settle(namespace, bundle if namespace in namespaces else None)
            except KubernetesError as error:  # of one that is being deleted, for one
                failed[namespace] = error
        if not failed:
            self._failure.worked()
            return
        first, why = next(iter(failed.items()))
        self._failure.failed(str(why), frozenset(each.kind for each in failed.values()), namespace=first, namespaces=len(failed))

    async def _settle(self, namespace: str, bundle: str | None) -> None:
        """Have ``bundle`` in ``namespace``; ``None``: nothing of ours."""
        current = self._config_maps.get(namespace)
        if bundle is None:
            if current and current.ours:
                await self._remove(namespace, current)
        elif current and current.foreign:
            if namespace not in self._reported_foreign:
                self._reported_foreign.add(namespace)
                log.warning("roots are kept by somebody else", extra={"namespace": namespace})
        elif current is None or not current.ours or current.content != bundle:
            await self._write(namespace, current, bundle)

    async def _remove(self, namespace: str, current: _ConfigMap) -> None:
        try:
            await self._client.delete(CONFIG_MAPS.path(namespace, CONFIG_MAP_NAME), version=text(current.metadata, "resourceVersion"))
        except StatusError as error:
            if not (error.not_found or error.conflict):  # the news of it is on its way
                raise
            return
        self.writes += 1
        log.info("roots removed", extra={"namespace": namespace})

    async def _write(self, namespace: str, current: _ConfigMap | None, bundle: str) -> None:
        metadata: Json = dict(current.metadata) if current else {"name": CONFIG_MAP_NAME, "namespace": namespace}
        metadata["labels"] = {**section(metadata, "labels"), OWNED_LABEL[0]: OWNED_LABEL[1]}
        since = self._inputs.clock().strftime("%Y-%m-%dT%H:%M:%SZ")
        metadata["annotations"] = {**section(metadata, "annotations"), SINCE_ANNOTATION: since}
        body: Json = {
            "apiVersion": CONFIG_MAPS.api_version,
            "kind": CONFIG_MAPS.kind,
            "metadata": metadata,
            "data": {CONFIG_MAP_ENTRY: bundle},
        }
        try:
            if current:
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
    leader: Leadership,
    inputs: RootCertificateInputs,
    namespaces: tuple[str, ...],
    timing: ReflectorTiming,
    random: Callable[[], float],
) -> RootCertificates:
    """Return what keeps the roots of ``inputs`` everywhere, or in ``namespaces`` only."""
    chosen = namespaces or ("",)
    reflectors = {
        namespace: Reflector(client, CONFIG_MAPS, timing, random, namespace=namespace or None, name=CONFIG_MAP_NAME) for namespace in chosen
    }
    return RootCertificates(client, leader, inputs, reflectors)
