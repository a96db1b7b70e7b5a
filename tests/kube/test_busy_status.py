"""Status in a mesh that is changed all the time: every object is told of soon, and proxies that come and go cost next to nothing."""

from __future__ import annotations

import asyncio
from pathlib import Path

from controlplane.writeback.debts import QUIET_S
from tests.support.busy_mesh import ROUTES, RULES, BusyMesh, busy_mesh
from tests.support.churning_clients import Client
from tests.support.proofs import TIMES
from tests.support.waiting import MEASURING

WHOLE = TIMES > 1 or MEASURING
SERVICES = 250 if WHOLE else 50  # with a route and a rule each
SIDECARS = 45 if WHOLE else 10
PER_S = 20.0 if WHOLE else 5.0
WINDOW_S = 30.0 if WHOLE else 8.0
RIGHT_WITHIN_S = 30.0


async def test_statuses_are_right_within_half_a_minute_and_a_proxy_that_comes_costs_nothing(tmp_path: Path) -> None:
    async with busy_mesh(tmp_path, SERVICES, SIDECARS, (4.0, 1.0)) as mesh:
        _, new_s = await mesh.right()
        await mesh.say("hold")
        of_one = await patches_of_one(mesh)
        per_arrival = await patches_per_arrival(mesh)
        wrong, all_s = await changed_at_once(mesh)

        print(f"{2 * SERVICES} objects are new: all right after {new_s:.1f} s")
        print(f"PATCHes when one proxy comes and goes: {of_one}; when {SIDECARS} do all the time: {per_arrival:.2f} each")
        print(f"all changed, and {PER_S:g} changes/s: {wrong} not right after {RIGHT_WITHIN_S:g} s, all after {all_s:.1f} s")
        assert of_one <= 5
        assert per_arrival <= 5
        assert wrong == 0


async def patches_of_one(mesh: BusyMesh) -> int:
    """Have one proxy come, stay for longer than a number has to be the same, and go; return how many statuses were written."""
    patched = await until_quiet(mesh)
    client, always = Client(999, mesh.replica.xds, (600.0, 600.0)), asyncio.Event()
    always.set()
    coming = asyncio.create_task(client.run(asyncio.Event(), always))
    await client.complete.wait()
    await asyncio.sleep(QUIET_S + 3)  # what is counted is what happens in this time
    coming.cancel()
    await asyncio.wait([coming])
    await asyncio.sleep(QUIET_S + 3)
    return await asyncio.to_thread(mesh.patches) - patched


async def until_quiet(mesh: BusyMesh) -> int:
    """Wait until hardly any status is written any more; return how many were."""
    before = -2
    while (now := await asyncio.to_thread(mesh.patches)) > before + 1:
        before = now
        await asyncio.sleep(QUIET_S / 2)
    return now


async def patches_per_arrival(mesh: BusyMesh) -> float:
    """Have proxies come and go while nothing is changed; return how many statuses were written for each that came."""
    came = await mesh.say("go")
    patched = await asyncio.to_thread(mesh.patches)
    await asyncio.sleep(WINDOW_S)  # what is counted is what happens in this time
    arrivals = await mesh.say("go") - came
    assert arrivals > SIDECARS / 2
    return (await asyncio.to_thread(mesh.patches) - patched) / arrivals


async def changed_at_once(mesh: BusyMesh) -> tuple[int, float]:
    """Change everything while proxies come and go and more is changed; return how many were told of too late, and when all were."""
    changing = asyncio.create_task(mesh.keep_changing(PER_S, (ROUTES, RULES)))
    generations = {
        (resource.kind, f"s{number}"): await mesh.change(resource, number) for number in range(SERVICES) for resource in (ROUTES, RULES)
    }
    try:
        return await mesh.right(generations, at_s=RIGHT_WITHIN_S)
    finally:
        changing.cancel()
