"""The demo's mesh of real Envoys, with its manifests at a real API server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import httpx

from controlplane.untyped import number, section
from tests.support.api_relay import Relay
from tests.support.cluster import Cluster
from tests.support.envoys import PROXY_PORT, REVIEWS, DemoMesh, rule, to
from tests.support.envoys import ClusterStore as Store
from tests.support.kube_binaries import kubectl
from tests.support.waiting import DEADLINE_S, at_most, until


class Through(Store):
    """Manifests are applied to the API server itself; each control plane reads it through a relay of its own."""

    def __init__(self, own: Cluster, relays: Mapping[str, Relay], *options: str) -> None:
        super().__init__(str(own.kubeconfig()), None)
        self._relays = relays
        self._more = options

    def serve(self, replica: str) -> Sequence[str]:
        """Return the options by which ``replica`` reads its relay."""
        reads = ("--kubernetes", "--replica", "--kubeconfig", str(self._relays[replica].kubeconfig), "--namespace", self.namespace)
        return (*reads, *self._more)


@asynccontextmanager
async def running(folder: Path, store: Store, *, replicas: int = 1, shared: bool = False, clients: int = 0) -> AsyncIterator[DemoMesh]:
    """Yield the demo's mesh, with its manifests in ``store``, and end it with the block."""
    kubectl()  # manifests are applied with it
    world = DemoMesh(folder, store, replicas=replicas, shared=shared, clients=clients)
    try:
        await world.start()
        yield world
    finally:
        await world.stop()


def serving(own: Cluster) -> Store:
    """Return where manifests of ``own`` are kept."""
    return Store(str(own.kubeconfig()), None)


async def programmed(world: DemoMesh, name: str = "reviews", *, within_s: float = 15) -> None:
    """Wait until the VirtualService ``name`` says that all Envoys have it in its latest generation."""
    store = world.store
    assert isinstance(store, Store)
    count = len(world.envoys)
    wanted = ("True", f"{count} of {count} proxies")

    async def is_so() -> bool:
        generation = number(section(await store.get("virtualservice", name), "metadata"), "generation")
        found = (await store.conditions("virtualservice", name)).get("Programmed", {})
        return (found.get("status"), found.get("message"), found.get("observedGeneration")) == (*wanted, generation)

    await until(is_so, f"Programmed {wanted}", deadline_s=at_most(within_s))


def resources(rows: Iterable[dict[str, object]]) -> int:
    """Return how many resources the proxies of ``rows`` were sent."""
    return sent(stream for row in rows for stream in streams(row))


def streams(row: dict[str, object]) -> list[dict[str, object]]:
    """Return the streams of the proxy of ``row``."""
    found = row["connections"]
    assert isinstance(found, list)
    return found


def sent(found: Iterable[dict[str, object]]) -> int:
    """Return how many resources were sent on the streams ``found``."""
    return sum(int(each["resources"]) for stream in found if isinstance(stream["types"], list) for each in stream["types"])


async def answers(world: DemoMesh) -> set[str]:
    """Return what the Envoys' routes to reviews add to a response: each Envoy is asked."""
    asked = (httpx.AsyncClient(proxy=f"http://{world.instances[name].ip}:{PROXY_PORT}", timeout=DEADLINE_S) for name in world.envoys)

    async def ask(client: httpx.AsyncClient) -> str:
        async with client:
            return str((await client.get(REVIEWS)).headers.get("x-edit", ""))

    return set(await asyncio.gather(*map(ask, asked)))


def edit(number: int) -> dict[str, object]:
    """Return a rule whose responses say which edit made it."""
    return dict(rule(to("reviews", "v1"), headers={"response": {"set": {"x-edit": str(number)}}}))
