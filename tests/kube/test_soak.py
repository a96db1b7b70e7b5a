"""A busy mesh for a while: the control plane has no more of anything at the end than after the beginning."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from tests.support.busy_mesh import POLICIES, ROUTES, RULES, SERVICES, SLICES, BusyMesh, busy_mesh
from tests.support.proofs import TIMES

WHOLE = TIMES > 1
BEGIN_S, SOAK_S = (60.0, 540.0) if WHOLE else (15.0, 15.0)
SIDECARS = 100 if WHOLE else 30
MESH = 100
PER_S = 20.0
BEGIN_PER_S = 60.0  # in the beginning: the heap has its size when each object has been replaced some times, after 4,000 changes
KINDS = (SLICES, ROUTES, RULES, SLICES, SERVICES)
MORE = 1.05  # times as much
_SAMPLE_MORE = 1.25  # of memory, in a sample that is too short for anything to have settled


class Usage(NamedTuple):
    """What a process has of the machine."""

    resident_mb: float
    descriptors: int
    threads: int
    tasks: int


async def test_a_busy_mesh_costs_no_more_after_a_while_than_after_a_minute(tmp_path: Path) -> None:
    async with busy_mesh(tmp_path, MESH, SIDECARS, (8.0, 1.0)) as mesh:
        await mesh.say("hold")
        usages = [await usage_after(mesh, BEGIN_S, BEGIN_PER_S)]
        lines_before = log_lines(mesh)
        usages.append(await usage_after(mesh, SOAK_S, PER_S))
        lines = log_lines(mesh) - lines_before
        minutes = SOAK_S / 60

        print(f"{mesh.changes} changes, {await mesh.say('hold')} arrivals of {SIDECARS} sidecars")
        print(f"after {BEGIN_S:g} s {usages[0]}")
        print(f"after {BEGIN_S + SOAK_S:g} s {usages[1]}")
        most = ", ".join(f"{count / minutes:.0f} {what}" for what, count in lines.most_common(5))
        print(f"log lines per minute: {lines.total() / minutes:.0f}: {most}")
        first, last = usages
        assert last.resident_mb <= first.resident_mb * (MORE if WHOLE else _SAMPLE_MORE)
        assert last.descriptors <= first.descriptors * MORE
        assert last.tasks <= first.tasks * MORE
        assert last.threads <= first.threads * MORE
        assert "Traceback" not in mesh.plane.log.read_text()


async def changed_all_the_time(mesh: BusyMesh, per_s: float) -> None:
    """Change objects of all kinds, and have policies come and go."""
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(mesh.keep_changing(per_s - 2, KINDS))
        tasks.create_task(mesh.keep_replacing(2.0, POLICIES))


async def usage_after(mesh: BusyMesh, seconds: float, per_s: float) -> Usage:
    """Have sidecars come and go for ``seconds`` while objects change, and return what the control plane has when all are there again."""
    changing = asyncio.create_task(changed_all_the_time(mesh, per_s))
    try:
        await mesh.say("go")
        await asyncio.sleep(seconds)  # what is waited for is the time
        await mesh.say("hold")
        return await usage(mesh)
    finally:
        changing.cancel()
        await asyncio.wait([changing])


async def usage(mesh: BusyMesh) -> Usage:
    """Return what the control plane has now."""
    process = Path(f"/proc/{mesh.plane.pid}")
    fields = dict(line.split(":", 1) for line in (process / "status").read_text().splitlines())
    resident_mb = int(fields["VmRSS"].split()[0]) / 1024
    return Usage(resident_mb, len(list((process / "fd").iterdir())), int(fields["Threads"]), int(await mesh.metric("navarch_tasks")))


def log_lines(mesh: BusyMesh) -> Counter[str]:
    """Count the lines of the log by what each is about."""
    lines = (line.split(None, 2) for line in mesh.plane.log.read_text().splitlines())
    return Counter(parts[-1].partition("  ")[0] for parts in lines if parts)
