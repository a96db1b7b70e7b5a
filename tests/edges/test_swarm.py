"""The benchmark's sidecars, in both languages: what they report is what happened."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from controlplane.envoy.type_urls import CDS, EDS, VHDS
from tests.bench import workload
from tests.bench.stores import Files
from tests.bench.swarm_process import Swarm, SwarmFault, swarm
from tests.bench.workload import Size
from tests.support.control_plane import Running, control_plane
from tests.support.go_programs import go_is_there

SIZE = Size(proxies=6, namespaces=2, services=10, endpoints=2, routes=2)
EVERYBODY = range(SIZE.proxies)


@pytest_asyncio.fixture(params=["Go", "Python"])
async def own(request: pytest.FixtureRequest) -> AsyncIterator[Swarm]:
    if request.param == "Go" and not go_is_there():
        pytest.skip("not run: Go is not there")
    async with swarm(SIZE, go=request.param == "Go") as found:
        yield found


@pytest_asyncio.fixture
async def plane(tmp_path: Path) -> AsyncIterator[tuple[Files, Running]]:
    store = Files(tmp_path / "manifests", SIZE)
    async with control_plane(tmp_path / "manifests") as running:
        yield store, running


async def test_all_are_configured_and_hear_of_what_changes_comes_and_goes(own: Swarm, plane: tuple[Files, Running]) -> None:
    store, running = plane
    joined = await own.connect([running.at.xds], EVERYBODY)
    assert joined.begun <= joined.first <= joined.median <= joined.last
    assert joined.traffic.resources >= SIZE.proxies * 3 * SIZE.services  # clusters, assignments, virtual hosts

    await own.expect(EDS, workload.cluster(7, SIZE), workload.moved_address(1).encode(), EVERYBODY)
    begun = await store.change(workload.endpoints(7, SIZE, moved=1))
    moved = await own.arrival()
    assert begun < moved.first <= moved.last
    assert (moved.traffic.responses, moved.traffic.resources) == (SIZE.proxies, SIZE.proxies)

    await own.expect(VHDS, workload.virtual_host(1, SIZE), workload.timeout_mark(20), EVERYBODY)
    await store.change(workload.route(1, SIZE, timeout_s=20))
    await own.arrival()

    await own.expect(EDS, workload.cluster(17, SIZE), b"", EVERYBODY)
    await store.create(workload.service(17, SIZE))
    await store.create(workload.endpoints(17, SIZE))
    await own.arrival()
    await own.expect(CDS, workload.cluster(17, SIZE), b"", EVERYBODY, removed=True)
    await store.delete(workload.service(17, SIZE))
    await own.arrival()


async def test_who_comes_again_with_what_they_have_is_sent_no_resource(own: Swarm, plane: tuple[Files, Running]) -> None:
    _, running = plane
    await own.connect([running.at.xds], EVERYBODY)
    await own.leave(EVERYBODY)

    again = await own.connect([running.at.xds], EVERYBODY, again=True)

    assert again.traffic.responses >= 2 * SIZE.proxies
    assert (again.traffic.resources, again.traffic.resource_bytes) == (0, 0)


async def test_who_reads_nothing_hears_of_the_newest_state_when_they_read_again(own: Swarm, plane: tuple[Files, Running]) -> None:
    store, running = plane
    await own.connect([running.at.xds], EVERYBODY)
    slow, others = range(4, 6), range(4)
    await own.pause(slow)
    for turn in (1, 2, 3):
        await own.expect(EDS, workload.cluster(7, SIZE), workload.moved_address(turn).encode(), others)
        await store.change(workload.endpoints(7, SIZE, moved=turn))
        await own.arrival()

    await own.expect(EDS, workload.cluster(7, SIZE), workload.moved_address(4).encode(), slow)
    await store.change(workload.endpoints(7, SIZE, moved=4))
    await own.resume(slow)

    assert (await own.arrival()).last > 0


async def test_what_the_first_was_sent_is_saved(own: Swarm, plane: tuple[Files, Running], tmp_path: Path) -> None:
    store, running = plane
    await own.connect([running.at.xds], EVERYBODY)
    await own.expect(EDS, workload.cluster(7, SIZE), b"", EVERYBODY)
    await store.change(workload.endpoints(7, SIZE, moved=1))
    await own.arrival()

    folder = tmp_path / "saved"
    folder.mkdir()
    await own.save(folder)

    names = sorted(path.name for path in folder.iterdir())
    assert {name.partition(".")[0] for name in names} == {
        "Cluster",
        "ClusterLoadAssignment",
        "Listener",
        "RouteConfiguration",
        "VirtualHost",
    }
    assert "ClusterLoadAssignment.change" in names


async def test_a_server_that_is_not_there_is_told(own: Swarm, plane: tuple[Files, Running]) -> None:
    _, running = plane
    await own.connect([running.at.xds], EVERYBODY)
    running.stop.set()
    await running.task
    await own.expect(EDS, workload.cluster(7, SIZE), b"", EVERYBODY)

    with pytest.raises(SwarmFault, match="the stream of sidecar"):
        await own.arrival()
