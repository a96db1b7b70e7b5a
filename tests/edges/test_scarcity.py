"""What the machine has no more of, a full disk and no memory: serving goes on, the log says what is lost, and the end is an orderly one."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import grpc.aio
import pytest

from controlplane.envoy.type_urls import CDS, EDS
from tests.support.bystander import CLUSTER, Attacked
from tests.support.control_plane import NODE, DeltaCall, delta, delta_request, next_delta
from tests.support.full_disk import MAY_MOUNT, small_disk
from tests.support.manifests import selecting, workload
from tests.support.processes import free_port, start
from tests.support.waiting import DEADLINE_S, until

NAVARCH = (sys.executable, "-m", "controlplane.cli.main")


@contextlib.asynccontextmanager
async def serving(manifests: Path, folder: Path, *options: str) -> AsyncIterator[Attacked]:
    """Serve ``manifests``, with the log in ``folder``."""
    manifests.mkdir()
    (manifests / "web.yaml").write_text(selecting("web", "web"))
    (manifests / "web-1.yaml").write_text(workload("web-1", "web", "10.8.0.1"))
    xds, admin = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
    process = await start("navarch", [*NAVARCH, "serve", "--files", str(manifests), "--xds", xds, "--admin", admin, *options], folder)
    try:
        server = Attacked(process, xds, admin, manifests)
        await until(server.healthy, "ready", watched=process)
        yield server
    finally:
        await process.stop(kill=True)


@contextlib.asynccontextmanager
async def bystander(server: Attacked) -> AsyncIterator[DeltaCall]:
    """Have a stream that sees the endpoints of ``server``."""
    async with delta(server.xds) as call:
        await call.write(delta_request(CDS, node=NODE))
        await call.write(delta_request(EDS, names=(CLUSTER,)))
        await server.move(call)
        yield call


async def prepare(state: Path) -> tuple[int, str]:
    """Return how a change of the authority in ``state`` ends, and what is said."""
    command = [*NAVARCH, "ca", "prepare", "--state", str(state)]
    ran = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, check=False, timeout=300)
    return ran.returncode, ran.stdout + ran.stderr


@pytest.mark.skipif(not MAY_MOUNT, reason="a disk of its own needs root")
async def test_a_full_disk_of_state_and_log_keeps_nobody_from_being_served(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk") as disk:
        state, manifests = disk.path / "state", tmp_path / "manifests"
        options = ("--state", str(state), "--xds-tls", f"127.0.0.1:{free_port()}")
        async with serving(manifests, disk.path, *options) as server, bystander(server) as call:
            disk.fill()
            for _ in range(50):  # two lines each, so many that what is left of the log's last page does not take them
                async with delta(server.xds) as other:
                    await other.write(delta_request(CDS, node=NODE))
                    await next_delta(other)
            (manifests / "bad.yaml").write_text("kind: VirtualService\n")
            await until(lambda: server.told("bad.yaml"), "the Problem is shown")
            for _ in range(5):
                await server.move(call)
            status, said = await prepare(state)
            disk.give_back()
            (manifests / "bad.yaml").unlink()
            await until(lambda: "log lines lost" in server.process.log.read_text(), "the log goes on", watched=server.process)
            after, _ = await prepare(state)
            log = server.process.log.read_text()

    assert status != 0
    assert str(state) in said
    assert "No space left on device" in said
    assert after == 0
    assert "Traceback" not in log + said
    [line] = [line for line in log.splitlines() if "log lines lost" in line]
    assert f"file={disk.path}/navarch.log" in line


@pytest.mark.parametrize("left", [1 << 20, 4 << 20])
async def test_a_process_that_is_short_of_memory_ends_when_it_is_told_to(tmp_path: Path, left: int) -> None:
    async with serving(tmp_path / "manifests", tmp_path) as server, bystander(server):
        limit = server.address_space + left
        resource.prlimit(server.process.pid, resource.RLIMIT_AS, (limit, limit))
        async with delta(server.xds) as greedy:
            with contextlib.suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
                await greedy.write(delta_request(CDS, node=NODE, names=tuple(f"{name:0100}" for name in range(100_000))))
                await asyncio.wait_for(next_delta(greedy), DEADLINE_S)
        server.process.terminate()

        await until(lambda: not server.process.alive, "ended")

    log = server.process.log.read_text()
    assert "stopped" in log
    assert "Traceback" not in log
