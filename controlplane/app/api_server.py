"""The API server that objects are read from and written back to, where there is one."""

from __future__ import annotations

import logging
import random
import secrets
from collections.abc import Callable
from dataclasses import dataclass, replace
from hashlib import blake2b
from importlib.metadata import PackageNotFoundError, version
from typing import Protocol

from controlplane.kube.client import Client
from controlplane.kube.lease import Candidacy, Leadership, Lease, NoLease
from controlplane.kube.reflector import ReflectorTiming
from controlplane.model.keys import Key
from controlplane.settings import KubernetesSettings, Settings
from controlplane.sources.kubernetes.source import KubernetesSource
from controlplane.writeback.candidates import ReplicaInfo
from controlplane.writeback.replicas import LEASE_PREFIX, Replicas

log = logging.getLogger(__name__)

LEADER = "navarch-leader"
_OBSERVES = "it was started without --replica, which those of the cluster are started with"


class BackgroundTask(Protocol):
    """Runs as long as the control plane does."""

    async def run(self) -> None:
        """Work until cancelled."""


@dataclass(frozen=True, slots=True)
class ApiServer:
    """An API server that objects are read from, and what this control plane is there: a replica, which writes, or an observer.

    ``replica`` is held by the one process that is the replica of its name, ``leader`` by the one replica that changes what all share.
    """

    client: Client
    settings: KubernetesSettings
    source: KubernetesSource
    replicas: Replicas
    replica: Leadership
    leader: Leadership
    leases: tuple[BackgroundTask, ...]  # what keeps both

    @property
    def collection(self) -> Callable[[Key], str]:
        """Return what names the watch that an object is read by."""
        return _namespaced_collection if self.settings.namespaces else _collection


def api_server(client: Client, kubernetes: KubernetesSettings, settings: Settings) -> ApiServer:
    """Return the API server of ``client`` by ``kubernetes``, which are a part of ``settings``; nothing is asked yet."""
    source = KubernetesSource(client, kubernetes.namespaces, random.random, ReflectorTiming.silent(kubernetes.watch_timeout_s))
    own = ReplicaInfo(kubernetes.pod, _version(), _options(kubernetes, settings))
    replicas = Replicas(client, own, kubernetes.system_namespace)
    if not kubernetes.replica:
        log.warning("this control plane only observes", extra={"consequence": "it writes nothing to the API server", "reason": _OBSERVES})
        return ApiServer(client, kubernetes, source, replicas, NoLease(), NoLease(), ())
    process = f"{kubernetes.pod}_{secrets.token_hex(4)}"  # two processes may be called by one name
    home = kubernetes.system_namespace
    as_replica = Candidacy(annotations=own.annotations, when_taken=_NameTaken(kubernetes.pod))
    replica = Lease(client, (home, LEASE_PREFIX + kubernetes.pod), process, random.random, None, as_replica)

    async def may_lead(lease: dict[str, object]) -> bool:
        await replica.looked.wait()
        return replica.is_leader and await replicas.may_lead(lease)

    as_leader = Candidacy(annotations=own.annotations, may_take=may_lead)
    leader = Lease(client, (home, LEADER), process, random.random, None, as_leader)
    return ApiServer(client, kubernetes, source, replicas, replica, leader, (replica, leader))


class _NameTaken:
    """Tells the log, once for each, of other processes that are the replica of our name."""

    def __init__(self, pod: str) -> None:
        self._pod = pod
        self._last = ""

    def __call__(self, process: str) -> None:
        if process != self._last:
            facts = {"pod": self._pod, "holder": process, "consequence": "this one writes nothing until that one has ended"}
            log.warning("another process is this replica", extra=facts)
        self._last = process


def _collection(key: Key) -> str:
    return f"{key.kind}.{key.group}"


def _namespaced_collection(key: Key) -> str:
    return f"{key.kind}.{key.group}/{key.namespace}"


def _version() -> str:
    try:
        return version("navarch")
    except PackageNotFoundError:  # run from its sources
        return ""


def _options(kubernetes: KubernetesSettings, settings: Settings) -> str:
    """Return a digest of what decides on what is published and written: the same for replicas that may stand for each other.

    Where a replica listens, and how it reaches the API server, is its own affair.
    """
    identity = settings.identity
    shared = (
        settings.files,
        kubernetes.namespaces,
        bool(kubernetes.webhook),
        kubernetes.injection,
        replace(identity, xds_tls=None, xds_mtls=None) if identity else None,
        settings.jwks,
        settings.modules,
        settings.reports,
        settings.hold_unknown_s,
    )
    return blake2b(repr(shared).encode(), digest_size=8).hexdigest()
