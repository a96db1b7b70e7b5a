"""Edits by kubectl on a real API server, in effect on real Envoys: how soon, and what the objects say of it.

How soon depends on what else the machine does: `make measure` runs this alone, with more edits, and holds the limits.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.cluster import Cluster
from tests.support.envoys import HOSTS, PAGE, REVIEWS, traffic
from tests.support.kube_envoys import answers, edit, programmed, running, serving
from tests.support.waiting import MEASURING, within
from tests.support.with_cluster import knowing_our_kinds

ENVOYS = 20
EDITS = 100 if MEASURING else 30
BOOKINFO = Path(__file__).parents[3] / "shared" / "cases" / "samples" / "bookinfo"


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Cluster]:
    cluster = knowing_our_kinds(tmp_path / "own", controllers=True)
    yield cluster
    cluster.stop()


@pytest.mark.parametrize("replicas", [1, 2])
async def test_an_edit_by_kubectl_is_in_effect_on_twenty_envoys(own: Cluster, tmp_path: Path, replicas: int) -> None:
    async with running(tmp_path, serving(own), replicas=replicas, clients=ENVOYS - 6) as world:
        assert len(world.envoys) == ENVOYS
        took = []
        async with traffic(world, REVIEWS, per_second=50) as tally:
            for number in range(EDITS):
                took.append(await world.accepted(world.route("reviews", [edit(number)]), HOSTS))
                if number % 10 == 9:
                    assert await answers(world) == {str(number)}
        await programmed(world)
        on_each = [len(await plane.get("/v1/proxies")) for plane in world.planes.values()]

    p50, p99 = statistics.median(took), statistics.quantiles(took, n=100, method="inclusive")[98]
    print(f"{EDITS} edits on {ENVOYS} Envoys of {on_each}: p50 {p50:.0f} ms, p99 {p99:.0f} ms from kubectl's return; ", end="")
    print(f"{tally.total} requests, {tally.failed} failed; Programmed on {ENVOYS} of {ENVOYS}")
    assert p50 < within(100)
    assert p99 < within(500)
    assert (tally.failed, tally.errors) == (0, [])
    assert on_each == [ENVOYS // replicas] * replicas


async def test_bookinfo_is_served_as_its_samples_say(own: Cluster, tmp_path: Path) -> None:
    if not BOOKINFO.exists():
        pytest.skip("not run: Istio's samples are not beside the repository")
    async with running(tmp_path, serving(own)) as world:
        for name in ("platform/kube/bookinfo.yaml", "networking/destination-rule-all.yaml"):
            await world.store.save(name, (BOOKINFO / name).read_text())

        async def show(name: str) -> None:
            await world.accepted(world.store.save("networking", (BOOKINFO / "networking" / name).read_text()), HOSTS)

        await show("virtual-service-all-v1.yaml")
        assert (await world.caller.many(REVIEWS, 40)).versions == {"v1": 40}
        assert (await world.caller.many(PAGE, 20)).failed == 0

        await show("virtual-service-reviews-test-v2.yaml")
        assert (await world.caller.many(REVIEWS, 40, {"end-user": "jason"})).versions == {"v2": 40}
        assert (await world.caller.many(REVIEWS, 40)).versions == {"v1": 40}

        await show("virtual-service-reviews-50-v3.yaml")
        found = (await world.caller.many(REVIEWS, 400)).versions
        assert found.keys() == {"v1", "v3"}
        assert 140 <= found["v3"] <= 260

        await show("virtual-service-ratings-test-abort.yaml")
        ratings = REVIEWS.replace("reviews", "ratings")
        assert (await world.caller.many(ratings, 20, {"end-user": "jason"})).statuses == {500: 20}
        assert (await world.caller.many(ratings, 20)).statuses == {200: 20}
