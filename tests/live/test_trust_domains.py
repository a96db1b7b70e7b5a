"""Trust domains that are taken for the mesh's own: their certificates, and policies that name workloads of one of them."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from controlplane.demo.processes import until
from controlplane.model.identity import Identity
from tests.live.judged import FRIEND, Judged, judged
from tests.live.test_authorization import ALLOWED, CLOSED, DENIED, by, policy

pytestmark = pytest.mark.asyncio(loop_scope="module")

FORMER = Identity("old.local", "shop", "friend")
FOREIGN = Identity("evil.local", "shop", "friend")
_SETTINGS = """
apiVersion: v1
kind: ConfigMap
metadata: {name: istio, namespace: istio-system}
data: {mesh: "trustDomainAliases: [old.local]"}
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Judged]:
    async with judged(tmp_path_factory.mktemp("domains")) as started:
        yield started


async def test_certificates_of_an_alias_are_taken_and_a_policy_for_one_name_is_for_all(world: Judged) -> None:
    await world.apply()
    before = [(await world.ask(who=who)).status for who in (FRIEND, FORMER, FOREIGN)]

    await world.mesh(_SETTINGS)

    async def taken() -> bool:
        return (await world.ask(who=FORMER)).status == ALLOWED

    await until("the certificate of the alias is taken", taken, seconds=10)
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
