"""Policies, issuers and their keys change under load: what is allowed before and after is allowed on the way."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from typing import Self

import httpx
import pytest
import pytest_asyncio

from tests.support.authorization import ALLOWED, by, policy, to
from tests.support.fakes.issuer import KEYS, Issuer
from tests.support.jwt_requests import bearer, believing, rule, until_status
from tests.support.mesh_clients import HTTP
from tests.support.policy_world import PROXY, PolicyWorld, policy_world
from tests.support.waiting import DEADLINE_S, until

pytestmark = pytest.mark.asyncio(loop_scope="module")

_PER_SECOND = 60
_EDITS = 20


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[PolicyWorld]:
    async with policy_world(tmp_path_factory.mktemp("load")) as started:
        yield started


class Traffic:
    """Steady requests of the workload ``caller`` through its own Envoy, with the newest of the ``issuer``'s tokens that is believed."""

    def __init__(self, world: PolicyWorld, token: str = "") -> None:
        self.token = token
        self.answers: Counter[str] = Counter()
        self._client = httpx.AsyncClient(proxy=f"http://{world.network}.12:{PROXY}", timeout=DEADLINE_S)

    async def __aenter__(self) -> Self:
        self._stop = asyncio.Event()
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._stop.set()
        await self._task
        await self._client.aclose()

    async def more(self, count: int = 15) -> None:
        """Wait for the answers to ``count`` more requests."""
        wanted = self.answers.total() + count

        async def there() -> bool:
            return self.answers.total() >= wanted

        await until(there, "more requests")

    async def _run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            while not self._stop.is_set():
                tasks.create_task(self._one(self.token))
                await asyncio.sleep(1 / _PER_SECOND)

    async def _one(self, token: str) -> None:
        try:
            answer = await self._client.get(f"http://web.shop:{HTTP}/", headers=dict(bearer(token)) if token else {})
        except httpx.HTTPError as error:
            self.answers[type(error).__name__] += 1
        else:
            self.answers[str(answer.status_code)] += 1


async def test_edits_of_policies_fail_no_request_that_all_of_them_allow(world: PolicyWorld) -> None:
    allowed = policy("caller", by(namespaces=["elsewhere"]))
    await world.apply(allowed)
    async with Traffic(world) as traffic:
        for number in range(_EDITS):
            denied = policy("denied", to(paths=[f"/secret-{number}"]), action="DENY")
            more = policy(f"more-{number}", by(principals=[f"cluster.local/ns/shop/sa/{number}"]))
            await world.apply(f"{allowed}\n---\n{denied}\n---\n{more}")
            await traffic.more()

    print(f"{traffic.answers.total()} requests through {_EDITS} edits: {dict(traffic.answers)}")
    assert set(traffic.answers) == {str(ALLOWED)}


async def test_a_rotation_of_keys_fails_no_token_that_both_sets_of_keys_believe(world: PolicyWorld) -> None:
    issuer = Issuer("https://rotating.example")
    async with issuer.published(f"{world.network}.51") as at:
        verified = policy("verified", by(requestPrincipals=["*"]))
        await world.apply(f"{believing(rule(issuer, jwksUri=at + KEYS))}\n---\n{verified}")
        await until_status(world, ALLOWED, issuer.token())
        async with Traffic(world, issuer.token()) as traffic:
            for _ in range(3):
                issuer.overlap()
                await until_status(world, ALLOWED, issuer.token())
                traffic.token = issuer.token()
                await traffic.more()

    print(f"{traffic.answers.total()} requests through 3 rotations: {dict(traffic.answers)}")
    assert set(traffic.answers) == {str(ALLOWED)}
