"""Where the workload is kept: in a folder of manifests, or at a real API server."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Protocol

from controlplane.kube.access import KubernetesAccess
from controlplane.kube.client import Client, connect
from controlplane.kube.resources import ApiResource
from tests.bench import workload
from tests.bench.workload import Size
from tests.support.cluster import Cluster
from tests.support.with_cluster import knowing_our_kinds

_AT_ONCE = 16
_RESOURCES = {
    "Service": ApiResource("", "v1", "services", "Service"),
    "EndpointSlice": ApiResource("discovery.k8s.io", "v1", "endpointslices", "EndpointSlice"),
    "VirtualService": ApiResource("networking.istio.io", "v1", "virtualservices", "VirtualService"),
    "Sidecar": ApiResource("networking.istio.io", "v1", "sidecars", "Sidecar"),
}
_NAMESPACES = ApiResource("", "v1", "namespaces", "Namespace", namespaced=False)


class WorkloadStore(Protocol):
    """Where the workload is kept; changes return when they were made, as ``time.perf_counter`` has it."""

    @property
    def options(self) -> Sequence[str]:
        """Return by what ``navarch serve`` reads it."""

    async def change(self, value: dict[str, object]) -> float:
        """Let the object ``value``, which is there, be as it says."""

    async def create(self, value: dict[str, object]) -> float:
        """Let there be the object ``value``."""

    async def delete(self, value: dict[str, object]) -> float:
        """Let there be no object of the name of ``value``."""


class Files:
    """A folder of manifests."""

    def __init__(self, folder: Path, size: Size) -> None:
        """Write the whole mesh of ``size`` below ``folder``."""
        self._folder = folder
        self.options = ("--files", str(folder))
        folder.mkdir()
        for each in workload.everything(size):
            self._save(each)

    async def change(self, value: dict[str, object]) -> float:
        """Save one object; the time is that before it is written."""
        begun = time.perf_counter()
        self._save(value)
        return begun

    async def create(self, value: dict[str, object]) -> float:
        """Save one object; the time is that before it is written."""
        return await self.change(value)

    async def delete(self, value: dict[str, object]) -> float:
        """Delete the file of one object; the time is that before it."""
        begun = time.perf_counter()
        self._file(value).unlink()
        return begun

    def _save(self, value: dict[str, object]) -> None:
        """Save as an editor does: whole, by renaming."""
        target = self._file(value)
        draft = target.with_suffix(".json~")
        draft.write_text(json.dumps(value))
        draft.rename(target)

    def _file(self, value: dict[str, object]) -> Path:
        metadata = value["metadata"]
        assert isinstance(metadata, dict)
        return self._folder / f"{value['kind']}-{metadata['namespace']}-{metadata['name']}.json"


class Kubernetes:
    """A real API server."""

    def __init__(self, own: Cluster, client: Client) -> None:
        """Keep the mesh at ``own``, by ``client``."""
        self._client = client
        self.options = ("--kubernetes", "--replica", "--kubeconfig", str(own.kubeconfig()))
        self.request_ms: list[float] = []  # that the API server took for each change

    async def fill(self, size: Size) -> float:
        """Create the whole mesh of ``size``; return the seconds that took."""
        begun = time.perf_counter()
        for name in ("istio-system", "navarch-system", *(f"ns{number}" for number in range(size.namespaces))):
            await self._client.create(_NAMESPACES.path(), {"metadata": {"name": name}})
        left = workload.everything(size)

        async def work() -> None:
            for each in left:
                await self._client.create(_path(each).rpartition("/")[0], each)

        await asyncio.gather(*(work() for _ in range(_AT_ONCE)))
        return time.perf_counter() - begun

    async def change(self, value: dict[str, object]) -> float:
        """Patch one object; the time is that of the API server's answer."""
        return await self._timed(self._client.patch(_path(value), value))

    async def create(self, value: dict[str, object]) -> float:
        """Create one object; the time is that of the API server's answer."""
        return await self._timed(self._client.create(_path(value).rpartition("/")[0], value))

    async def delete(self, value: dict[str, object]) -> float:
        """Delete one object; the time is that of the API server's answer."""
        return await self._timed(self._client.delete(_path(value)))

    async def _timed(self, request: Awaitable[object]) -> float:
        begun = time.perf_counter()
        await request
        answered = time.perf_counter()
        self.request_ms.append((answered - begun) * 1000)
        return answered


@asynccontextmanager
async def kubernetes(folder: Path) -> AsyncIterator[Kubernetes]:
    """Give an API server that knows our kinds, until the block ends."""
    own = await asyncio.to_thread(knowing_our_kinds, folder)
    try:
        async with connect(KubernetesAccess(str(own.kubeconfig()))) as client:
            yield Kubernetes(own, client)
    finally:
        own.stop()


def _path(value: dict[str, object]) -> str:
    metadata = value["metadata"]
    assert isinstance(metadata, dict)
    return _RESOURCES[str(value["kind"])].path(str(metadata["namespace"]), str(metadata["name"]))
