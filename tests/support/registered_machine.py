"""A workload outside the cluster, as the API server and a control plane see it."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator

from controlplane.envoy.type_urls import CDS
from tests.support.cluster import Cluster
from tests.support.control_plane import Running
from tests.support.pod_proxies import Workload, ads, apply
from tests.support.secure_control_plane import asking
from tests.support.waiting import until

NAME = "carts-10.0.0.1"
ISTIO: dict[str, object] = {"apiVersion": "networking.istio.io/v1"}


class Machine:
    """A proxy of the service account ``cart`` in a namespace of its own, which names the group ``carts``."""

    def __init__(self, cluster: Cluster, namespace: str, *, probe: bool = False) -> None:
        self.cluster = cluster
        self.namespace = namespace
        self.workload = Workload.made(cluster, namespace, "cart", pod="vm-1")
        self._checked = {"probe": {"tcpSocket": {"port": 8080}}} if probe else {}
        self.label("cart")

    def label(self, app: str) -> None:
        """Have the group say that its instances are of ``app``."""
        spec = {"metadata": {"labels": {"app": app}}, "template": {"serviceAccount": "cart"}, **self._checked}
        apply(self.cluster, self.namespace, {**ISTIO, "kind": "WorkloadGroup", "metadata": {"name": "carts"}, "spec": spec})

    @contextlib.asynccontextmanager
    async def connected(self, running: Running) -> AsyncIterator[None]:
        """Have a stream to ``running`` while the block lasts."""
        async with ads(running, self.workload.token(bound=False)) as call:
            await call.write(asking(CDS, self.node))
            await call.read()
            yield

    @property
    def node(self) -> dict[str, object]:
        return self.workload.node(AUTO_REGISTER_GROUP="carts")

    async def entry(self) -> dict[str, object] | None:
        """Return its WorkloadEntry as it is at the API server."""
        said = await asyncio.to_thread(
            self.cluster.kubectl, "-n", self.namespace, "get", "workloadentry", NAME, "-o", "json", "--ignore-not-found"
        )
        found: dict[str, object] | None = json.loads(said) if said else None
        return found

    async def keeper(self) -> str:
        """Return which replica keeps its entry, nothing while there is none."""
        found = await self.entry()
        return str(part(found, "metadata", "annotations", "istio.io/workloadController")) if found else ""

    async def kept_by(self, *pods: str) -> None:
        """Wait until it is kept by one of ``pods``; an empty one: until it is gone."""

        async def so() -> bool:
            return await self.keeper() in pods

        await until(so)

    async def labelled(self, app: str) -> None:
        """Wait until its entry says that it is of ``app``."""

        async def so() -> bool:
            return part(await self.entry(), "spec", "labels", "app") == app

        await until(so)


def part(value: object, *path: str) -> object:
    for step in path:
        assert isinstance(value, dict)
        value = value[step]
    return value
