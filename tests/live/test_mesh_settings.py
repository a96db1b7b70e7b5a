"""What the mesh's settings are to policies: trust domains that are taken for its own, and how paths are made comparable."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from controlplane.model.identity import Identity
from tests.support.authorization import ALLOWED, CLOSED, DENIED, by, policy, to
from tests.support.mesh_clients import FRIEND
from tests.support.policy_world import PolicyWorld, policy_world
from tests.support.waiting import until

pytestmark = pytest.mark.asyncio(loop_scope="module")

FORMER = Identity("old.local", "shop", "friend")
FOREIGN = Identity("evil.local", "shop", "friend")


def settings(**given: object) -> str:
    metadata = {"name": "istio", "namespace": "istio-system"}
    return json.dumps({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"mesh": json.dumps(given)}})


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[PolicyWorld]:
    async with policy_world(tmp_path_factory.mktemp("domains")) as started:
        yield started


async def test_certificates_of_an_alias_are_taken_and_a_policy_for_one_name_is_for_all(world: PolicyWorld) -> None:
    await world.apply()
    before = [(await world.ask(who=who)).status for who in (FRIEND, FORMER, FOREIGN)]

    await world.mesh(settings(trustDomainAliases=["old.local"]))

    async def taken() -> bool:
        return (await world.ask(who=FORMER)).status == ALLOWED

    await until(taken, "the certificate of the alias is taken")
    found = {}
    for named in ("cluster.local", "old.local", "evil.local"):
        await world.apply(policy("one", by(principals=[f"{named}/ns/shop/sa/friend"])))
        found[named] = [(await world.ask(who=who)).status for who in (FRIEND, FORMER, FOREIGN)]

    assert before == [ALLOWED, CLOSED, CLOSED]
    assert found == {
        "cluster.local": [ALLOWED, ALLOWED, CLOSED],
        "old.local": [ALLOWED, ALLOWED, CLOSED],
        "evil.local": [DENIED, DENIED, CLOSED],
    }


_SPELT = ("/admin", "/x/../admin", "/%61dmin", "/x\\..\\admin", "//admin", "/%2Fadmin", "/x%2F..%2Fadmin")
_DENIED_BY = {
    "NONE": ("/admin",),
    "DEFAULT": _SPELT[:4],
    "MERGE_SLASHES": _SPELT[:5],
    "DECODE_AND_MERGE_SLASHES": _SPELT,
}


@pytest.mark.parametrize("normalization", _DENIED_BY)
async def test_a_denial_of_a_path_is_for_as_many_ways_to_write_it_as_the_mesh_s_setting_says(
    world: PolicyWorld, normalization: str
) -> None:
    await world.mesh(settings(pathNormalization={"normalization": normalization}))
    await world.apply(policy("one", to(paths=["/admin*"]), action="DENY"))

    found = {path: (await world.ask(path)).status for path in _SPELT}

    assert tuple(path for path, status in found.items() if status == DENIED) == _DENIED_BY[normalization]
