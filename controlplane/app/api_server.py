"""The API server that objects are read from and written back to, where there is one."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Protocol

from controlplane.kube.client import Client
from controlplane.kube.lease import Lease
from controlplane.kube.reflector import ReflectorTiming
from controlplane.settings import KubernetesSettings
from controlplane.sources.kubernetes.source import KubernetesSource

LEADER = "navarch-leader"


class BackgroundTask(Protocol):
    """Runs as long as the control plane does."""

    async def run(self) -> None:
        """Work until cancelled."""


@dataclass(frozen=True, slots=True)
class ApiServer:
    """An API server that objects are read from, and the Lease there of the one replica that changes what replicas share."""

    client: Client
    settings: KubernetesSettings
    source: KubernetesSource
    leader: Lease


def api_server(client: Client, settings: KubernetesSettings) -> ApiServer:
    """Return the API server of ``client``; nothing is asked yet."""
    source = KubernetesSource(client, settings.namespaces, random.random, ReflectorTiming.silent(settings.watch_timeout_s))
    leader = Lease(client, (settings.system_namespace, LEADER), settings.pod, random.random)
    return ApiServer(client, settings, source, leader)
