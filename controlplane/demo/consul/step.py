"""A step of the story: an instance registers in Consul, takes traffic, fails its check and is spared."""

from __future__ import annotations

from controlplane.demo.apps import SERVICE_PORT, AppInstance
from controlplane.demo.claims import DemoClaim
from controlplane.demo.consul.server import ManifestsBesideConsul
from controlplane.demo.load import SteadyLoad
from controlplane.demo.mesh import DemoMesh, running_reviews
from controlplane.demo.processes import PATIENCE_S, until

NAME = "registered"
URL = f"http://{NAME}.service.consul:{SERVICE_PORT}/reviews/0"


async def registered(world: DemoMesh) -> DemoClaim:
    """Show that Consul's word on an instance is in effect at once, and that no request is lost by it."""
    store = world.store
    if not isinstance(store, ManifestsBesideConsul):
        return DemoClaim("a registry", held=False, proof="there is no Consul")
    first, second = list(running_reviews(world))[:2]
    identity = f"spiffe://cluster.local/ns/{store.namespace}/sa/{first.app}"
    await store.consul.register(NAME, first, identity)

    async def answers() -> bool:
        return (await world.caller.many(URL, 2)).failed == 0

    await until(f"{NAME} answers", answers, seconds=PATIENCE_S)
    async with SteadyLoad(world.caller, URL, per_second=100) as load:
        await load.at_least(20)
        await store.consul.register(NAME, second, identity)
        await _takes_requests(second)
        await store.consul.check(NAME, second, "fail")
        spared = await _is_spared(second, load)
        await store.consul.check(NAME, second, "pass")
        await _takes_requests(second)
    tally = load.tally
    proof = (
        f"{second.name} registered and took requests, failed its check and got {'none' if spared else 'SOME'}, passed it and took them "
        f"again; {tally.failed} of {tally.total} requests failed"
    )
    return DemoClaim("a registry", tally.failed == 0 and spared, proof, {"requests": tally.total, "failed": tally.failed})


async def _takes_requests(instance: AppInstance) -> None:
    before = instance.requests

    async def took() -> bool:
        return instance.requests > before

    await until(f"{instance.name} takes requests", took, seconds=PATIENCE_S)


async def _is_spared(instance: AppInstance, load: SteadyLoad) -> bool:
    """Wait until ``instance`` gets no requests any more, and return whether it then gets none of the next 50."""
    last = -1
    while instance.requests != last:
        last = instance.requests
        await load.at_least(load.tally.total + 30)
        await load.answered()
    await load.at_least(load.tally.total + 50)
    return instance.requests == last
