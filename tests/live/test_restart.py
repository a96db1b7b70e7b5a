"""The control plane dies under load and comes back: silence is safe, and what the Envoys have is not sent again."""

from __future__ import annotations

import asyncio
from pathlib import Path

from tests.support.envoys import REVIEWS, DemoMesh, running, traffic
from tests.support.waiting import MEASURING, at_most, until

AWAY_S = 15.0


async def types(world: DemoMesh) -> list[dict[str, object]]:
    rows = await world.proxies()
    return [each for row in rows for stream in connections(row) for each in types_of(stream)]


def connections(row: dict[str, object]) -> list[dict[str, object]]:
    found = row["connections"]
    assert isinstance(found, list)
    return found


def types_of(stream: dict[str, object]) -> list[dict[str, object]]:
    found = stream["types"]
    assert isinstance(found, list)
    return found


async def test_a_control_plane_killed_for_15_s_fails_no_request_and_sends_nothing_again(tmp_path: Path) -> None:
    async with running(tmp_path) as world:
        async with traffic(world, REVIEWS, per_second=110) as tally:
            await world.kill_plane()
            await asyncio.sleep(AWAY_S)  # the outage itself: what is waited for is the time
            await world.start_plane()

            async def all_back() -> bool:
                rows = await world.proxies()
                return len(rows) == len(world.envoys) and all(row["synced"] for row in rows) and len(await types(world)) == 5 * len(rows)

            await until(all_back, "every Envoy is back", deadline_s=at_most(10))
        sent = await types(world)

    print(f"{tally.total} requests, {tally.failed} failed; {sum(int(str(each['resources'])) for each in sent)} resources sent again")
    assert tally.total >= (100 if MEASURING else 2) * AWAY_S
    assert (tally.failed, tally.errors) == (0, [])
    assert [each for each in sent if each["resources"]] == []
