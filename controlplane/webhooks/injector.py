"""What the injecting webhook has to know before it can answer: what the cluster is able to do, and which image is our own."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from controlplane.inject.inject import InjectionContext
from controlplane.kube.client import Client
from controlplane.kube.errors import KubernetesError
from controlplane.kube.resources import PODS
from controlplane.objects.networking.proxy_configs import ProxyConfigs
from controlplane.settings import KubernetesSettings
from controlplane.telemetry import OngoingFailure
from controlplane.translate.patches.bootstrap import BootstrapPatch
from controlplane.untyped import Json, items, section, text
from controlplane.webhooks.mutate import mutate
from controlplane.webhooks.validate import AdmissionVerdict

log = logging.getLogger(__name__)

_NATIVE_SINCE = 29  # https://kubernetes.io/docs/concepts/workloads/pods/sidecar-containers/
_REFRESH_S = 300.0  # clusters are upgraded
_RETRY_S = 1.0
_DIGITS = re.compile(r"\d+")


class Injector:
    """Answers of one control plane on pods."""

    def __init__(
        self,
        client: Client,
        cluster: KubernetesSettings,
        configs: Callable[[], ProxyConfigs],
        patches: Callable[[], tuple[BootstrapPatch, ...]] = tuple,
    ) -> None:
        """Answer by the settings of ``cluster``, and by the ``configs`` of the mesh and its ``patches`` as they are when asked."""
        self._patches = patches
        self._client = client
        self._cluster = cluster
        self._configs = configs
        self._context: InjectionContext | None = None

    async def run(self) -> None:
        """Read what the cluster is able to do, again and again, until cancelled."""
        failure = OngoingFailure(log, "cluster not known", "cluster known again")
        while True:
            try:
                context = await self._read_context()
                if context != self._context:
                    log.info(
                        "injection ready", extra={"native_sidecars": context.has_native_sidecars, "image": context.settings.init_image}
                    )
                self._context = context
                failure.worked()
                await asyncio.sleep(_REFRESH_S)
            except KubernetesError as error:
                failure.failed(str(error), error.kind)
                await asyncio.sleep(_RETRY_S)

    def reviewer(self, path: str) -> Callable[[bytes], AdmissionVerdict] | None:
        """Return what answers a review that came to ``path`` now, in any thread; None until the cluster is known."""
        if self._context is None:
            return None
        context = replace(self._context, configs=self._configs(), patches=self._patches())
        return partial(mutate, path=path, context=context)

    async def _read_context(self) -> InjectionContext:
        settings = self._cluster.injection
        minor = _DIGITS.match(text(await self._client.get("/version"), "minor"))  # some clouds write 29+
        has_native = minor is not None and int(minor[0]) >= _NATIVE_SINCE
        if settings.init_image is None:
            query = {"fieldSelector": f"metadata.name={self._cluster.pod}"}
            pods = await self._client.get(PODS.path(self._cluster.system_namespace), **query)
            settings = replace(settings, init_image=_image(pods))
        return InjectionContext(settings=settings, has_native_sidecars=has_native)


def _image(pods: Json) -> str | None:
    """Return the image of the control plane, which is the first container of its pod; None where it runs in none."""
    containers = (container for pod in items(pods) for container in items(section(pod, "spec"), "containers"))
    return text(next(containers, {}), "image") or None
