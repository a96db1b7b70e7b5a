"""Every part of the bootstrap, on a real Envoy that is started by nothing else."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
import pytest_asyncio
from cryptography.hazmat.primitives.asymmetric import ec

from controlplane.bootstrap.bootstrap import bootstrap
from controlplane.bootstrap.overload_manager import OverloadLimits
from controlplane.bootstrap.xds_cluster import secret_files
from controlplane.ca.certificates import authority
from controlplane.demo.processes import envoy_binary, until
from tests.live.alone import Alone, alone
from tests.rooms.test_bootstrap import CREDENTIALS, POD

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def web(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Alone]:
    async with alone(tmp_path_factory.mktemp("alone")) as one:
        await one.start()
        await one.until_ready()
        yield one


async def known(web: Alone) -> bool:
    return bool(await web.plane.running.json("/v1/proxies"))


async def unknown(web: Alone) -> bool:
    return not await known(web)


async def away(web: Alone) -> bool:
    return not await web.connected()


async def test_a_token_that_is_replaced_is_shown_without_a_restart(web: Alone) -> None:
    good = web.plane.token(account="web")
    web.write(token="spoiled")
    web.way.cut()
    await until("the Envoy is refused", lambda: unknown(web), seconds=5)
    tries = await web.stat("cluster.xds-grpc.upstream_rq_total") + 2

    async def tried() -> bool:
        return await web.stat("cluster.xds-grpc.upstream_rq_total") >= tries

    await until("it has tried again", tried, seconds=10)
    assert await unknown(web)

    web.write(token=good)

    await until("it is let in with the new token", lambda: known(web), seconds=5)


async def test_roots_that_are_replaced_are_believed_without_a_restart(web: Alone) -> None:
    good = web.plane.roots.decode()
    other = authority("other", ec.generate_private_key(ec.SECP256R1()), dt.datetime.now(dt.UTC), dt.timedelta(days=1)).pem.decode()
    web.write(roots=other)
    web.way.cut()
    await until("the Envoy does not believe the control plane", lambda: unknown(web), seconds=5)
    await until("it has tried again", _more(web, web.way.taken), seconds=10)
    assert await unknown(web)

    web.write(roots=good)

    await until("it believes the control plane", lambda: known(web), seconds=5)


async def test_a_control_plane_that_falls_silent_is_noticed_within_10_s(web: Alone) -> None:
    begun = time.monotonic()
    web.way.silent = True

    await until("the silence is noticed", lambda: away(web), seconds=10)

    noticed = time.monotonic()
    web.way.silent = False
    await until("it is back", lambda: known(web), seconds=5)
    print(f"noticed after {noticed - begun:.1f} s, back {time.monotonic() - noticed:.1f} s later")


async def test_after_an_outage_it_is_back_within_seconds(web: Alone) -> None:
    web.way.down = True
    web.way.cut()
    tries = web.way.taken + 6  # by then the back-off has grown as far as it does
    await until("six tries have failed", _more(web, tries), seconds=40)

    web.way.down = False
    begun = time.monotonic()
    await until("it is back", lambda: known(web), seconds=4)
    print(f"back after {time.monotonic() - begun:.1f} s")


async def test_the_ports_answer_what_is_meant_and_nothing_else_of_the_admin_api(web: Alone) -> None:
    meant = [(15021, "/healthz/ready"), (15090, "/stats/prometheus")]
    others = [(15021, "/ready"), (15021, "/stats/prometheus"), (15090, "/stats"), (15090, "/config_dump"), (15090, "/")]

    assert [await web.status(*each) for each in meant] == [200, 200]
    assert [await web.status(*each) for each in others] == [404] * len(others)
    posted = [(await web.client.post(f"http://{web.ip}:{port}{path}")).status_code for port, path in meant]
    assert posted == [404, 404]
    page = (await web.client.get(f"http://{web.ip}:15090/stats/prometheus")).text
    assert "envoy_cluster_upstream_cx_active" in page


async def test_envoy_has_nothing_to_complain_of_in_a_pods_bootstrap(tmp_path: Path) -> None:
    for name, content in secret_files(CREDENTIALS).items():
        (tmp_path / name).write_text(content)
    values = {"POD_NAME": "cart-7", "POD_IP": "fd00::7", "HOST_IP": "fd00::1"}
    told = json.dumps(bootstrap(POD)).replace("/own/", f"{tmp_path}/")
    for name, value in values.items():
        told = told.replace(f"$({name})", value)
    (tmp_path / "token").write_text("token")

    command = [envoy_binary(), "--mode", "validate", "--log-level", "warning", "--config-yaml", told]
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT)
    said = (await process.communicate())[0].decode()

    assert process.returncode == 0, said
    assert "warning" not in said


async def test_it_is_ready_only_when_it_has_been_told_everything(tmp_path: Path) -> None:
    async with alone(tmp_path) as one:
        one.way.down = True
        process = await one.start()
        await until("it tries", _more(one, 2), seconds=20, watched=process)
        early = [await one.ready(), await one.status(9080, "/")]

        one.way.down = False
        await one.until_ready()

        assert early == [False, 0]
        assert await one.status(9080, "/") == 503  # there is no application


async def test_beyond_its_connections_nobody_comes_in_but_those_who_watch(tmp_path: Path) -> None:
    async with alone(tmp_path, limits=OverloadLimits(connections=3)) as one:
        await one.start()
        await one.until_ready()

        held = [await asyncio.open_connection(one.ip, 9080) for _ in range(3)]
        answers = [await one.status(9080, "/"), await one.status(15021, "/healthz/ready"), await one.status(15090, "/stats/prometheus")]

        assert answers == [0, 200, 200]
        for _, writer in held:
            writer.close()
        await until("there is room again", _answers(one, 503), seconds=5)


async def test_beyond_its_memory_requests_are_refused_but_not_those_who_watch(tmp_path: Path) -> None:
    # It is too full from the start, and looks only when its listeners are there: 1.40 has those wait for ever that come to a full heap.
    async with alone(tmp_path, limits=OverloadLimits(heap_bytes=1 << 20, refresh_interval_s=3.0)) as one:
        await one.start()

        await until("the heap is full", _refuses(one), seconds=20)

        assert [await one.status(15021, "/healthz/ready"), await one.status(15090, "/stats/prometheus")] == [200, 200]
        assert await one.stat("overload.envoy.overload_actions.stop_accepting_requests.active") == 1


def _answers(web: Alone, status: int) -> Callable[[], Awaitable[bool]]:
    async def answers() -> bool:
        return await web.status(9080, "/") == status

    return answers


def _refuses(web: Alone) -> Callable[[], Awaitable[bool]]:
    async def refuses() -> bool:
        return await web.ready() and await web.status(9080, "/") == 0

    return refuses


def _more(web: Alone, than: int) -> Callable[[], Awaitable[bool]]:
    async def tried() -> bool:
        return web.way.taken > than

    return tried
