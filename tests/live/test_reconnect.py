"""Many proxies come back at once after the control plane has died."""

from __future__ import annotations

from pathlib import Path

from tests.bench.stores import Files
from tests.bench.swarm_process import swarm
from tests.bench.workload import Size
from tests.support.envoys import RunningReplica
from tests.support.processes import Replica, free_port, start_replica
from tests.support.waiting import at_most, until, within

SIZE = Size(proxies=200, services=300, routes=100)


def memory(pid: int, name: str) -> int:
    """Return the figure ``name`` of a process's memory, in bytes."""
    line = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith(name))
    return int(line.split()[1]) * 1024


async def test_s04_two_hundred_proxies_reconnect_at_once(tmp_path: Path) -> None:
    bed = Files(tmp_path / "manifests", SIZE)
    everybody = range(SIZE.proxies)
    plane = RunningReplica(Replica("navarch", *(f"127.0.0.1:{free_port()}" for _ in range(2))))

    async def start() -> int:
        plane.process = await start_replica(plane.replica, bed.options, tmp_path)
        await until(plane.ready, "ready", deadline_s=at_most(30), watched=plane.process)
        return plane.process.pid

    try:
        pid = await start()
        async with swarm(SIZE, go=False) as first:
            await first.connect([plane.replica.xds], everybody)
            steady = memory(pid, "VmRSS")
            assert plane.process is not None
            await plane.process.stop(kill=True)

        pid = await start()
        async with swarm(SIZE, go=False) as again:
            arrival = await again.connect([plane.replica.xds], everybody)
            took = arrival.last - arrival.begun
            peak = memory(pid, "VmHWM")
            rows = await plane.get("/v1/proxies")
    finally:
        await plane.stop()

    print(f"{SIZE.proxies} proxies have everything {took:.1f} s after they came back; memory {steady >> 20} MiB, at most {peak >> 20} MiB")
    assert len(rows) == SIZE.proxies
    assert took <= within(10)
    assert peak <= 2 * steady
