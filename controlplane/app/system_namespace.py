"""Says once and clearly that the namespace which the control plane keeps its own things in is not there: nothing is written back then."""

from __future__ import annotations

import asyncio
import logging
from typing import Protocol

from controlplane.kube.errors import KubernetesError
from controlplane.untyped import Json, items

log = logging.getLogger(__name__)

_LOOK_S = 30.0


class Reader(Protocol):
    """An API server, as far as it is read."""

    async def get(self, path: str, **query: str) -> Json:
        """Return what is at ``path``; raises KubernetesError."""


class SystemNamespace:
    """Looks whether the namespace is there, now and then."""

    def __init__(self, client: Reader, name: str) -> None:
        """Look for the namespace ``name`` by ``client``."""
        self._client = client
        self._name = name
        self._missing = False

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(_LOOK_S)

    async def look(self) -> None:
        """Tell the log if the namespace has gone, or is there again, since the last look."""
        missing = await self._is_missing()
        if missing and not self._missing:
            consequence = "no status is written, no webhook registered, and replicas do not know of each other"
            advice = f"kubectl create namespace {self._name}, or name another in POD_NAMESPACE"
            log.warning("the namespace of the control plane is not there", extra=_facts(self._name, consequence=consequence, advice=advice))
        elif self._missing and not missing:
            log.info("the namespace of the control plane is there", extra=_facts(self._name))
        self._missing = missing

    async def _is_missing(self) -> bool:
        try:
            return not items(await self._client.get("/api/v1/namespaces", fieldSelector=f"metadata.name={self._name}"))
        except KubernetesError:
            return self._missing  # nobody can say


def _facts(namespace: str, **more: str) -> dict[str, str]:
    return {"namespace": namespace, **more}
