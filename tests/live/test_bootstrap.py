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
from tests.support.bootstraps import CREDENTIALS, POD
from tests.support.envoy_versions import NEWEST, VERSIONS, complaints, envoy_of
from tests.support.single_envoy import SingleEnvoy, single_envoy
from tests.support.waiting import at_most, until

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def web(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[SingleEnvoy]:
    async with single_envoy(tmp_path_factory.mktemp("alone")) as one:
        await one.start()
        await one.until_ready()
        yield one


async def known(web: SingleEnvoy) -> bool:
    return bool(await web.plane.running.json("/v1/proxies"))


async def unknown(web: SingleEnvoy) -> bool:
    return not await known(web)


async def away(web: SingleEnvoy) -> bool:
    return not await web.connected()


async def test_a_token_that_is_replaced_is_shown_without_a_restart(web: SingleEnvoy) -> None:
    good = web.plane.token(account="web")
    web.write(token="spoiled")
    web.way.cut()
    await until(lambda: unknown(web), "the Envoy is refused", deadline_s=at_most(5))
    tries = await web.stat("cluster.xds-grpc.upstream_rq_total") + 2

    async def tried() -> bool:
        return await web.stat("cluster.xds-grpc.upstream_rq_total") >= tries

    await until(tried, "it has tried again", deadline_s=at_most(10))
    assert await unknown(web)

    web.write(token=good)

    await until(lambda: known(web), "it is let in with the new token", deadline_s=at_most(5))


async def test_roots_that_are_replaced_are_believed_without_a_restart(web: SingleEnvoy) -> None:
    good = web.plane.roots.decode()
    other = authority("other", ec.generate_private_key(ec.SECP256R1()), dt.datetime.now(dt.UTC), dt.timedelta(days=1)).pem.decode()
    web.write(roots=other)
    web.way.cut()
    await until(lambda: unknown(web), "the Envoy does not believe the control plane", deadline_s=at_most(5))
    await until(_more(web, web.way.taken), "it has tried again", deadline_s=at_most(10))
    assert await unknown(web)

    web.write(roots=good)

    await until(lambda: known(web), "it believes the control plane", deadline_s=at_most(5))


async def test_a_control_plane_that_falls_silent_is_noticed_within_10_s(web: SingleEnvoy) -> None:
    begun = time.monotonic()
    web.way.silent = True

    await until(lambda: away(web), "the silence is noticed", deadline_s=at_most(10))

    noticed = time.monotonic()
    web.way.silent = False
    await until(lambda: known(web), "it is back", deadline_s=at_most(5))
    print(f"noticed after {noticed - begun:.1f} s, back {time.monotonic() - noticed:.1f} s later")


async def test_after_an_outage_it_is_back_within_seconds(web: SingleEnvoy) -> None:
    web.way.down = True
    web.way.cut()
    tries = web.way.taken + 6  # by then the back-off has grown as far as it does
    await until(_more(web, tries), "six tries have failed", deadline_s=at_most(40))

    web.way.down = False
    begun = time.monotonic()
    await until(lambda: known(web), "it is back", deadline_s=at_most(4))
    print(f"back after {time.monotonic() - begun:.1f} s")


async def test_the_ports_answer_what_is_meant_and_nothing_else_of_the_admin_api(web: SingleEnvoy) -> None:
    meant = [(15021, "/healthz/ready"), (15090, "/stats/prometheus")]
    others = [(15021, "/ready"), (15021, "/stats/prometheus"), (15090, "/stats"), (15090, "/config_dump"), (15090, "/")]

    assert [await web.status(*each) for each in meant] == [200, 200]
    assert [await web.status(*each) for each in others] == [404] * len(others)
    posted = [(await web.client.post(f"http://{web.ip}:{port}{path}")).status_code for port, path in meant]
    assert posted == [404, 404]
    page = (await web.client.get(f"http://{web.ip}:15090/stats/prometheus")).text
    assert "envoy_cluster_upstream_cx_active" in page


@pytest.mark.parametrize("version", [VERSIONS[0], NEWEST])
async def test_envoy_has_nothing_to_complain_of_in_a_pods_bootstrap(tmp_path: Path, version: str) -> None:
    for name, content in secret_files(CREDENTIALS).items():
        (tmp_path / name).write_text(content)
    values = {"POD_NAME": "cart-7", "POD_IP": "fd00::7", "HOST_IP": "fd00::1"}
    told = json.dumps(bootstrap(POD)).replace("/own/", f"{tmp_path}/")
    for name, value in values.items():
        told = told.replace(f"$({name})", value)
    (tmp_path / "token").write_text("token")

    command = [envoy_of(version), "--mode", "validate", "--log-level", "warning", "--config-yaml", told]
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT)
    said = (await process.communicate())[0].decode()

    assert process.returncode == 0, said
    assert complaints(said) == []


async def test_it_is_ready_only_when_it_has_been_told_everything(tmp_path: Path) -> None:
    async with single_envoy(tmp_path) as one:
        one.way.down = True
        process = await one.start()
        await until(_more(one, 2), "it tries", deadline_s=at_most(20), watched=process)
        early = [await one.ready(), await one.status(9080, "/")]

        one.way.down = False
        await one.until_ready()

        assert early == [False, 0]
        assert await one.status(9080, "/") == 503  # there is no application


async def test_beyond_its_connections_nobody_comes_in_but_those_who_watch(tmp_path: Path) -> None:
    async with single_envoy(tmp_path, limits=OverloadLimits(connections=3)) as one:
        await one.start()
        await one.until_ready()

        held = [await asyncio.open_connection(one.ip, 9080) for _ in range(3)]
        answers = [await one.status(9080, "/"), await one.status(15021, "/healthz/ready"), await one.status(15090, "/stats/prometheus")]

        assert answers == [0, 200, 200]
        for _, writer in held:
            writer.close()
        await until(_answers(one, 503), "there is room again", deadline_s=at_most(5))


_FULL = [f"overload.envoy.overload_actions.stop_accepting_{each}.active" for each in ("requests", "connections")]


async def test_beyond_its_memory_requests_are_refused_but_not_those_who_watch(web: SingleEnvoy, tmp_path: Path) -> None:
    # Twice what an Envoy like it has: the listeners of one whose heap is full before they come are never there.
    memory = (await web.client.get(f"http://{web.ip}:15000/memory")).json()
    async with single_envoy(tmp_path, limits=OverloadLimits(heap_bytes=2 * int(memory["allocated"]))) as one:
        process = await one.start()
        await one.until_ready()
        begun: list[asyncio.StreamWriter] = []
        try:

            async def is_full() -> bool:
                begun.extend([await _half_a_request(one) for _ in range(40)])
                return [await one.stat(each) for each in _FULL] == [1, 1]

            assert [await one.stat(each) for each in _FULL] == [0, 0]
            await until(is_full, "the heap is full", watched=process)

            assert await one.status(9080, "/", timeout_s=2) == 0  # nobody takes the connection
            assert [await one.status(15021, "/healthz/ready"), await one.status(15090, "/stats/prometheus")] == [200, 200]
        finally:
            for writer in begun:
                writer.transport.abort()


async def _half_a_request(web: SingleEnvoy) -> asyncio.StreamWriter:
    """Return a connection by which a request has begun, with headers that are kept in memory until it is whole."""
    _, writer = await asyncio.open_connection(web.ip, 9080)
    writer.write(b"GET / HTTP/1.1\r\nhost: web\r\nx-long: " + b"a" * 50_000)
    await writer.drain()
    return writer


def _answers(web: SingleEnvoy, status: int) -> Callable[[], Awaitable[bool]]:
    async def answers() -> bool:
        return await web.status(9080, "/") == status

    return answers


def _more(web: SingleEnvoy, than: int) -> Callable[[], Awaitable[bool]]:
    async def tried() -> bool:
        return web.way.taken > than

    return tried
