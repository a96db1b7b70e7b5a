"""What Istio's metrics cost an Envoy: CPU a request with them and without, as a ratio, and the memory of the module for plain names."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import httpx
import pytest

from tests.support.counted_mesh import COUNTING, PROXY, CountedMesh, counted_mesh
from tests.support.mesh_clients import HTTP
from tests.support.waiting import DEADLINE_S, MEASURING, until, within

_REQUESTS, _AT_A_TIME, _ROUNDS = 2000, 8, 3
_MOST = 1.6
_PREFIXED = COUNTING.replace("namespace: istio-system", "namespace: istio-system, annotations: {navarch.io/metric-names: prefixed}")
_NOTHING = COUNTING.replace("metrics: [prometheus]", "metrics: []")


@pytest.mark.skipif(not MEASURING, reason="not run: a figure, which is held where nothing else runs (make measure)")
async def test_a_request_costs_at_most_1_6_times_the_cpu(tmp_path: Path) -> None:
    async with counted_mesh(tmp_path) as world:
        with_metrics, without = [], []
        for _ in range(_ROUNDS):
            await _settle(world, COUNTING, counted=True)
            with_metrics.append(await _cpu_a_request(world))
            await _settle(world, _NOTHING, counted=False)
            without.append(await _cpu_a_request(world))

    ratio = min(with_metrics) / min(without)
    print(f"CPU a request of two Envoys: {min(without) * 1e6:.0f} us, with metrics {min(with_metrics) * 1e6:.0f} us, {ratio:.2f} times")
    assert ratio <= within(_MOST)


@pytest.mark.skipif(not MEASURING, reason="not run: a figure, which is held where nothing else runs (make measure)")
async def test_the_module_for_plain_names_weighs_what_the_page_says(tmp_path: Path) -> None:
    memory = {}
    for name, settings in (("plain", COUNTING), ("prefixed", _PREFIXED)):
        folder = tmp_path / name
        folder.mkdir()
        async with counted_mesh(folder, settings) as world:
            assert await world.through_own_envoy() == 200
            memory[name] = _resident_kib(world.envoys["web"].pid)

    more = memory["plain"] - memory["prefixed"]
    print(f"resident, KiB: {memory}; the module weighs {more / 1024:.1f} MiB")
    assert more < within(32 << 10)


async def _settle(world: CountedMesh, settings: str, *, counted: bool) -> None:
    """Have the Envoys count, or not."""
    world.save("settings", settings)

    async def holds() -> bool:
        dumps = [await world.listeners(suffix) for suffix in (11, 12)]
        return all(("istio_requests_total" in dump) is counted and "warming_state" not in dump for dump in dumps)

    await until(holds, f"counted: {counted}")


async def _cpu_a_request(world: CountedMesh) -> float:
    """Return the seconds of CPU that the Envoys of both sides take for a request."""
    pids = [world.envoys[name].pid for name in ("web", "caller")]
    async with httpx.AsyncClient(proxy=f"http://{world.network}.12:{PROXY}", timeout=DEADLINE_S) as client:
        await _ask(client, _AT_A_TIME)
        before = sum(map(_cpu_s, pids))
        await asyncio.gather(*(_ask(client, _REQUESTS // _AT_A_TIME) for _ in range(_AT_A_TIME)))
        return (sum(map(_cpu_s, pids)) - before) / _REQUESTS


async def _ask(client: httpx.AsyncClient, times: int) -> None:
    for _ in range(times):
        assert (await client.get(f"http://web.shop:{HTTP}/")).status_code == 200


def _cpu_s(pid: int) -> float:
    user, system = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def _resident_kib(pid: int) -> int:
    [line] = [line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS")]
    return int(line.split()[1])
