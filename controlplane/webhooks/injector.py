"""What the injecting webhook has to know before it can answer: what the cluster is able to do, and which image is our own."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable
from dataclasses import replace

from controlplane.inject.inject import InjectionContext
from controlplane.kube.client import Client
from controlplane.kube.errors import KubernetesError
from controlplane.kube.json import Json, items, section, text
from controlplane.kube.resources import PODS
from controlplane.objects.networking.proxy_config import ProxySettings
from controlplane.settings import KubernetesSettings
from controlplane.webhooks.mutate import injection_verdict
from controlplane.webhooks.validate import AdmissionVerdict

log = logging.getLogger(__name__)

_NATIVE_SINCE = 29  # https://kubernetes.io/docs/concepts/workloads/pods/sidecar-containers/
_LOOK_S = 300.0  # clusters are upgraded
_AGAIN_S = 1.0
_DIGITS = re.compile(r"\d+")


class NotYet(Exception):
    """What is needed for an answer is not known yet."""


class Injector:
    """Answers of one control plane on pods."""

    def __init__(self, client: Client, cluster: KubernetesSettings, defaults: Callable[[], ProxySettings]) -> None:
        """Answer by the settings of ``cluster``, and by the ``defaults`` of the mesh as they are when asked."""
        self._client = client
        self._cluster = cluster
        self._defaults = defaults
        self._known: InjectionContext | None = None

    async def run(self) -> None:
        """Learn of the cluster until cancelled."""
        while True:
            try:
                found = await self._learned()
                if found != self._known:
                    log.info("injection ready", extra={"native_sidecars": found.has_native_sidecars, "image": found.settings.init_image})
                self._known = found
                await asyncio.sleep(_LOOK_S)
            except KubernetesError as error:
                log.info("cluster not known", extra={"reason": str(error)})
                await asyncio.sleep(_AGAIN_S)

    def reviewer(self, path: str) -> Callable[[bytes], AdmissionVerdict]:
        """Return what answers a review that came to ``path`` now, in any thread; raises NotYet."""
        if self._known is None:
            raise NotYet
        mesh = replace(self._known, defaults=self._defaults())
        return lambda body: injection_verdict(body, path, mesh)

    async def _learned(self) -> InjectionContext:
        settings = self._cluster.injection
        minor = _DIGITS.match(text(await self._client.get("/version"), "minor"))  # some clouds write 29+
        has_native = minor is not None and int(minor[0]) >= _NATIVE_SINCE
        if settings.init_image is None:
            query = {"fieldSelector": f"metadata.name={self._cluster.pod}"}
            found = await self._client.get(PODS.path(self._cluster.system_namespace), **query)
            settings = replace(settings, init_image=_image(found))
        return InjectionContext(settings=settings, has_native_sidecars=has_native)


def _image(pods: Json) -> str | None:
    """Return the image of the control plane, which is the first container of its pod; None where it runs in none."""
    containers = (each for pod in items(pods) for each in items(section(pod, "spec"), "containers"))
    return text(next(containers, {}), "image") or None
