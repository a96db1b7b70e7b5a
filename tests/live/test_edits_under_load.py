"""Live edits under steady traffic through real Envoys: no request fails, in whatever order the parts of a change come."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterable, Iterator
from pathlib import Path

from tests.support.envoys import HOSTS, REVIEWS, DemoMesh, Tally, rule, running, to, traffic
from tests.support.waiting import until, within

SHOP = "http://shop.example/"
TURNS = 6  # of nine edits each
REQUESTS_AN_EDIT = 5


def subsets(*names: str) -> str:
    listed = [{"name": name, "labels": {"version": name[:2]}} for name in names]
    head = {"apiVersion": "networking.istio.io/v1", "kind": "DestinationRule", "metadata": {"name": "more", "namespace": "default"}}
    return json.dumps({**head, "spec": {"host": "reviews", "subsets": listed}})


def routed(host: str, *routes: object) -> str:
    head = {"apiVersion": "networking.istio.io/v1", "kind": "VirtualService", "metadata": {"name": host, "namespace": "default"}}
    return json.dumps({**head, "spec": {"hosts": [host], "http": [{"route": list(routes)}]}})


def shop(world: DemoMesh, name: str) -> Iterator[str]:
    """Yield the Service ``name`` of the shop, its endpoints, and the route of shop.example to it."""
    yield json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": name, "namespace": "default"},
            "spec": {"ports": [{"name": "http", "port": 80}]},
        }
    )
    addresses = [each.ip for each in world.instances.values() if each.app == "details"]
    yield json.dumps(
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {"name": f"{name}-1", "namespace": "default", "labels": {"kubernetes.io/service-name": name}},
            "addressType": "IPv4",
            "ports": [{"name": "http", "port": 9080}],
            "endpoints": [{"addresses": addresses}],
        }
    )
    yield routed("shop.example", to(name))


def documents(parts: Iterable[str]) -> str:
    return "\n---\n".join(parts)


async def edits(world: DemoMesh) -> AsyncIterator[str]:
    """Save edit after edit; yield what each was."""
    for turn in range(TURNS):
        extra = f"v3-{turn}"
        await world.store.save("reviews", routed("reviews", to("reviews", "v1", 90 - turn), to("reviews", "v2", 10 + turn)))
        yield "weights"
        await world.store.save("subsets", subsets(extra))
        yield "a subset before the route that names it"
        await world.store.save("reviews", routed("reviews", to("reviews", "v1", 50), to("reviews", extra, 50)))
        yield "the route that names it"
        await world.store.save("subsets", subsets())
        yield "a subset removed before the route lets go of it"
        await world.store.save("reviews", routed("reviews", to("reviews", f"{extra}b")))
        yield "a route before the subset that it names"
        await world.store.save("subsets", subsets(f"{extra}b"))
        yield "the subset"
        await world.store.save("reviews", "")
        await world.store.save("subsets", documents((subsets(f"{extra}c"), routed("reviews", to("reviews", f"{extra}c")))))
        yield "a subset with its route, the ones before removed"
        await world.store.save("reviews", routed("reviews", to("reviews", "v1")))
        await world.store.save("subsets", subsets())
        yield "a subset removed after the route let go of it"
        await world.store.save("shop", documents(shop(world, f"shop-{turn}")))
        yield "a Service renamed together with the route that names it"


async def test_fifty_edits_under_load_fail_no_request(tmp_path: Path) -> None:
    async with running(tmp_path) as world:
        await world.store.save("shop", documents(shop(world, "shop")))
        await world.store.save("subsets", subsets())
        await world.accepted(world.store.save("reviews", routed("reviews", to("reviews", "v1"))), HOSTS)

        done = []
        async with traffic(world, REVIEWS, per_second=70) as reviews, traffic(world, SHOP, per_second=50) as shopping:
            async for edit in edits(world):
                done.append(edit)
                await more_requests(reviews, shopping)
            took = await world.accepted(world.route("reviews-v1", [rule(to("reviews", "v2"))]), HOSTS)
            await more_requests(reviews, shopping)

    print(f"{len(done)} edits, {reviews.total + shopping.total} requests, {reviews.failed + shopping.failed} failed")
    assert len(done) >= 50
    assert took < within(5000)
    assert (reviews.failed, reviews.errors, set(reviews.statuses)) == (0, [], {200})
    assert (shopping.failed, shopping.errors, set(shopping.statuses)) == (0, [], {200})
    assert reviews.versions.keys() == {"v1", "v2", "v3"}
    assert min(reviews.total, shopping.total) >= len(done) * REQUESTS_AN_EDIT


async def more_requests(*tallies: Tally) -> None:
    """Wait until each of ``tallies`` has counted some more."""
    wanted = [tally.total + REQUESTS_AN_EDIT for tally in tallies]

    async def counted() -> bool:
        return all(tally.total >= least for tally, least in zip(tallies, wanted, strict=True))

    await until(counted, "more requests")
