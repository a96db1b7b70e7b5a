"""Routes of a gateway by the claims of a token: only of one that was verified."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping

import pytest
import pytest_asyncio

from tests.support.envoys import rule, running, to
from tests.support.fakes.issuer import Issuer
from tests.support.gateway_world import GatewayWorld
from tests.support.waiting import until

pytestmark = pytest.mark.asyncio(loop_scope="module")

ISSUER = Issuer()
URL = "http://shop.example/reviews/0"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def front(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[GatewayWorld]:
    async with running(tmp_path_factory.mktemp("claims"), secure=True, edge=True) as world:
        assert world.gateway
        yield GatewayWorld(world, world.gateway, tmp_path_factory.mktemp("certificates"))


GROUP, ROLE = "@request.auth.claims.group", "@request.auth.claims[realm][example.com/role]"
ROUTES = [
    rule(to("reviews", "v2"), match=[{"headers": {GROUP: {"exact": "admin"}}}]),
    rule(to("reviews", "v3"), match=[{"headers": {ROLE: {"prefix": "dev"}}}]),
    rule(to("details"), match=[{"headers": {"@request.auth.claims.sub": {}}, "withoutHeaders": {GROUP: {"exact": "guest"}}}]),
    rule(to("reviews", "v1")),
]
WANTED: list[tuple[Mapping[str, object], str]] = [
    ({"group": "admin"}, "reviews v2"),
    ({"group": ["user", "admin"]}, "reviews v2"),
    ({"realm": {"example.com/role": "developer"}}, "reviews v3"),
    ({"sub": "alice"}, "details v1"),
    ({"sub": "alice", "group": "guest"}, "reviews v1"),
    ({}, "reviews v1"),
]


async def known(front: GatewayWorld) -> None:
    """Let the gateway know the issuer."""
    head = {"apiVersion": "security.istio.io/v1", "kind": "RequestAuthentication", "metadata": {"name": "issuer", "namespace": "default"}}
    spec = {"selector": {"matchLabels": {"app": "ingress"}}, "jwtRules": [{"issuer": ISSUER.name, "jwks": ISSUER.jwks}]}
    await front.world.store.save("issuer", json.dumps({**head, "spec": spec}))

    async def refuses() -> bool:
        return (await front.ask(URL, headers={"Authorization": "Bearer bad"})).status_code == 401

    await until(refuses, "the gateway knows the issuer")


async def test_a_gateway_routes_by_what_a_verified_token_says_and_by_no_other(front: GatewayWorld) -> None:
    await front.show([front.server("HTTP", 8080, "*.example")], "shop.example", http=ROUTES)
    await front.until_answers(URL)
    await known(front)

    found = []
    for claims, _ in WANTED:
        shown = {"Authorization": f"Bearer {ISSUER.token(**claims)}"} if claims else {}
        answer = (await front.ask(URL, headers=shown)).json()
        found.append(f"{answer['app']} {answer['version']}")
    forged = await front.ask(URL, headers={"Authorization": f"Bearer {Issuer(ISSUER.name).token(group='admin')}"})

    assert found == [where for _, where in WANTED]
    assert forged.status_code == 401
