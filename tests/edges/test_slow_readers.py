"""Peers that have stopped reading: they cost little memory and nobody else's time, and are cut off.

By itself with limits of seconds; with ``NAVARCH_REAL_TIME`` in the environment with those that are served with.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import time
from pathlib import Path

import grpc
import grpc.aio
import pytest
from envoy.service.discovery.v3.discovery_pb2 import DeltaDiscoveryResponse

from controlplane.envoy.type_urls import CDS, EDS
from controlplane.objects.changes import Change, split
from controlplane.serve import server
from controlplane.serve.xds import streams
from controlplane.sources.files.once import read_manifests
from controlplane.xds.events import Sent
from controlplane.xds.stream import Response
from tests.support.control_plane import NODE, Running, control_plane, delta, delta_request, status_of
from tests.support.discovery_server import Machine, serving_by
from tests.support.manifests import selecting, workload
from tests.support.many_clients import follow, node
from tests.support.memory import memory
from tests.support.waiting import DEADLINE_S, at_most, until, within

REAL = "NAVARCH_REAL_TIME" in os.environ
STALLED, UPDATES, SERVICES = 20, 1000, 200
KEEPALIVE_S = 2  # with as much again for the answer, where nothing is as long as it is served with
CUT_WITHIN_S = 60 if REAL else 15


@pytest.fixture
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Notice a peer that is gone within seconds."""
    if not REAL:
        quick = dict.fromkeys(("grpc.keepalive_time_ms", "grpc.keepalive_timeout_ms", "grpc.http2.ping_timeout_ms"), KEEPALIVE_S * 1000)
        monkeypatch.setattr(server, "OPTIONS", tuple((name, quick.get(name, value)) for name, value in server.OPTIONS))


def moved(folder: Path, update: int) -> tuple[Change, ...]:
    """Return that an endpoint has another address."""
    file = folder.parent / "moved.yaml"
    file.write_text(workload(f"w{update % SERVICES}", f"s{update % SERVICES}", f"10.1.{update // 250}.{update % 250 + 1}"))
    return read_manifests([str(file)], sys.stdin.buffer)[1]


class Watcher:
    """A client that reads, and how long each update took to reach it."""

    def __init__(self) -> None:
        self.began = time.perf_counter()
        self.took: list[float] = []
        self.has = asyncio.Event()

    def answered(self, answer: DeltaDiscoveryResponse) -> None:
        if answer.type_url == EDS:
            self.took.append(time.perf_counter() - self.began)
            self.has.set()

    async def p99(self, running: Running, updates: list[tuple[Change, ...]]) -> float:
        """Return the 99th percentile of how long it takes until each of ``updates`` is here."""
        self.took.clear()
        for changes in updates:
            self.has.clear()
            self.began = time.perf_counter()
            running.plane._updates.submit("folder", split(changes)[0])
            async with asyncio.timeout(DEADLINE_S):
                await self.has.wait()
        return sorted(self.took)[int(len(self.took) * 0.99)]


async def test_t27_clients_that_are_stopped_cost_little_and_are_cut_off(tmp_path: Path, quickly: None) -> None:
    folder = tmp_path / "manifests"
    folder.mkdir()
    manifests = (selecting(f"s{each}", f"s{each}") + "---\n" + workload(f"w{each}", f"s{each}", "10.1.9.9") for each in range(SERVICES))
    (folder / "all.yaml").write_text("---\n".join(manifests))
    updates = [moved(folder, number) for number in range(2 * UPDATES)]
    watcher = Watcher()

    async with control_plane(folder) as running, delta(running.at.xds) as call:
        watching = asyncio.create_task(follow(call, node(0, "watcher"), watcher.answered))
        await watcher.has.wait()
        calm = await watcher.p99(running, updates[:UPDATES])
        command = (sys.executable, "-m", "tests.support.many_clients", running.at.xds, str(STALLED))
        stopped = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
        assert stopped.stdout
        try:
            assert await stopped.stdout.readline() == b"ready\n"
            assert len(running.plane._subscribers.sessions()) == STALLED + 1
            before = memory()
            stopped.send_signal(signal.SIGSTOP)
            began = time.monotonic()
            busy = await watcher.p99(running, updates[UPDATES:])
            grown = memory() - before
            await until(lambda: len(running.plane._subscribers.sessions()) == 1, deadline_s=at_most(CUT_WITHIN_S))
            cut = time.monotonic() - began
        finally:
            stopped.kill()
            await stopped.wait()
            watching.cancel()

    print(f"p99 {calm * 1000:.1f} ms, with {STALLED} stopped {busy * 1000:.1f} ms; {grown / 1e6:.1f} MB more; cut after {cut:.1f} s")
    assert grown < 200e6
    assert busy <= within(2) * calm + 0.005


async def test_t28_a_write_that_takes_too_long_ends_the_stream_and_skips_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "WRITE_S", 0.3)
    sent: list[int] = []

    def large() -> Response:
        sent.append(len(sent))
        return Response(
            DeltaDiscoveryResponse(nonce=str(sent[-1]), system_version_info="x" * (1 << 20)).SerializeToString(),
            Sent(CDS, "1", "", 0, 0, 1 << 20),
        )

    async with serving_by(lambda _: Machine(large)) as running, delta(running.address) as call:
        await call.write(delta_request(CDS, node=NODE))
        await until(lambda: running.books.open)
        await until(lambda: not running.books.open)
        nonces = list[int]()
        with contextlib.suppress(grpc.aio.AioRpcError):
            async for answer in call:
                nonces.append(int(answer.nonce))
        over = await status_of(call)

    assert over[0] is grpc.StatusCode.ABORTED
    assert nonces == list(range(len(nonces)))  # those that came are the first ones, without a gap
    assert len(nonces) <= len(sent) < 50


def test_t27_what_is_served_with_cuts_a_stalled_stream_within_a_minute() -> None:
    options = dict(server.OPTIONS)

    assert options["grpc.keepalive_time_ms"] + options["grpc.http2.ping_timeout_ms"] <= 60_000
    assert streams.WRITE_S * (1 + 1 / streams.WRITE_CHECKS) <= 60
