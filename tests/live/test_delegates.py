"""Delegates on real Envoys: whose requests arrive where, through sidecars and through a gateway, and what an edit of one of them does."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping

import pytest
import pytest_asyncio

from tests.support.envoys import LoadGenerator, rule, running, to
from tests.support.gateway_world import GatewayWorld
from tests.support.manifests import NETWORKING, document
from tests.support.waiting import until

pytestmark = pytest.mark.asyncio(loop_scope="module")

REVIEWS = "http://reviews:9080"
VERSIONS = ("v1", "v2", "v3")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def front(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[GatewayWorld]:
    async with running(tmp_path_factory.mktemp("delegates"), edge=True) as world:
        assert world.gateway
        yield GatewayWorld(world, world.gateway, tmp_path_factory.mktemp("certificates"))


def delegate(name: str, *http: Mapping[str, object], **spec: object) -> str:
    """Return a VirtualService of the namespace ``team``, without hosts."""
    written = {"apiVersion": NETWORKING, "kind": "VirtualService", "metadata": {"name": name, "namespace": "team"}}
    return json.dumps({**written, "spec": {"http": http, **spec}})


def delegates(name: str, path: str, **match: object) -> Mapping[str, object]:
    """Return a rule that leaves what is below ``path`` to a delegate."""
    return {"match": [{"uri": {"prefix": path}, **match}], "delegate": {"name": name, "namespace": "team"}}


def below(path: str) -> list[Mapping[str, object]]:
    return [{"uri": {"prefix": path}}]


async def arrivals(front: GatewayWorld, path: str, headers: Mapping[str, str] | None = None, *, count: int = 20) -> Mapping[str, int]:
    """Return at which versions of reviews ``count`` requests for ``path`` arrive, as these have counted them."""
    instances = {version: front.world.instances[f"reviews-{version}"] for version in VERSIONS}
    before = {version: instance.requests for version, instance in instances.items()}
    await front.world.caller.many(f"{REVIEWS}{path}", count, headers)
    after = {version: instance.requests - before[version] for version, instance in instances.items()}
    return {version: found for version, found in after.items() if found}


async def until_arriving(front: GatewayWorld, path: str, version: str) -> None:
    async def there() -> bool:
        return await arrivals(front, path, count=5) == {version: 5}

    await until(there, f"{path} leads to {version}")


async def test_requests_go_where_the_delegate_says_within_what_its_root_says(front: GatewayWorld) -> None:
    tester = {"headers": {"tester": {"exact": "yes"}}}
    cart = delegate(
        "cart",
        rule(to("reviews.default.svc.cluster.local", "v2"), match=below("/cart/new")),
        {"match": below("/elsewhere"), "directResponse": {"status": 418}},
        rule(to("reviews.default.svc.cluster.local", "v3"), match=[{"headers": {"beta": {}}}]),
    )
    http = [delegates("cart", "/cart", **tester), delegates("nobody", "/lost"), rule(to("reviews", "v1"))]
    await front.world.store.save("delegates", cart)
    await front.world.store.save("root", document("VirtualService", "root", hosts=["reviews"], http=http))
    await until_arriving(front, "/other", "v1")

    found = {
        "new": await arrivals(front, "/cart/new/1", {"tester": "yes"}),
        "new, of no tester": await arrivals(front, "/cart/new/1"),
        "beta": await arrivals(front, "/cart/old", {"tester": "yes", "beta": "1"}),
        "not the delegate's": await arrivals(front, "/cart/old", {"tester": "yes"}),
        "outside": await arrivals(front, "/elsewhere", {"tester": "yes"}),
        "of nobody": await arrivals(front, "/lost"),
    }

    assert found == {
        "new": {"v2": 20},
        "new, of no tester": {"v1": 20},
        "beta": {"v3": 20},
        "not the delegate's": {"v1": 20},
        "outside": {"v1": 20},
        "of nobody": {"v1": 20},
    }
    assert sorted(str(row["code"]) for row in await front.world.problems()) == ["Conflict", "Conflict", "UnknownDelegate"]


async def test_an_edit_of_a_delegate_is_in_effect_without_its_root(front: GatewayWorld) -> None:
    await front.world.store.save("delegates", delegate("cart", rule(to("reviews.default.svc.cluster.local", "v2"))))
    http = [delegates("cart", "/cart"), rule(to("reviews", "v1"))]
    await front.world.store.save("root", document("VirtualService", "root", hosts=["reviews"], http=http))
    await until_arriving(front, "/cart", "v2")

    await front.world.store.save("delegates", delegate("cart", rule(to("reviews.default.svc.cluster.local", "v3"))))
    await until_arriving(front, "/cart", "v3")
    await front.world.store.save("delegates", delegate("cart", rule(to("reviews.default.svc.cluster.local", "v3")), exportTo=["."]))
    await until_arriving(front, "/cart", "v1")
    others = await arrivals(front, "/other")

    assert others == {"v1": 20}


async def test_a_gateway_has_a_delegates_routes_and_the_shares_in_them(front: GatewayWorld) -> None:
    split = rule(to("reviews.default.svc.cluster.local", "v1", 75), to("reviews.default.svc.cluster.local", "v3", 25))
    await front.world.store.save("delegates", delegate("cart", {**split, "match": below("/shop/reviews")}))
    http = [delegates("cart", "/shop"), {"directResponse": {"status": 403}}]
    await front.show([front.server("HTTP", 8080, "*")], "shop.example", http=http)
    await front.until_answers("http://shop.example/shop/reviews/1")

    async with front.gateway.client(front.trusting()) as client:
        tally = await LoadGenerator(client).many("http://shop.example/shop/reviews/1", 400)
    others = [(await front.ask(f"http://shop.example{path}")).status_code for path in ("/shop/details", "/reviews")]

    print(f"{tally.versions['v3']} of {tally.total} to v3")
    assert tally.failed == 0
    assert set(tally.versions) == {"v1", "v3"}
    assert 0.15 < tally.versions["v3"] / tally.total < 0.35
    assert others == [403, 403]
