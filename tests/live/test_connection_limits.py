"""Windows, buffers and sizes of headers that users set, by what a real Envoy is given and what it lets through."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import httpx
import pytest
import pytest_asyncio

from tests.support.mesh_clients import HTTP
from tests.support.policy_world import PolicyWorld, policy_world
from tests.support.waiting import DEADLINE_S, until

pytestmark = pytest.mark.asyncio(loop_scope="module")
_TOO_LARGE = 431
_POD = """apiVersion: v1
kind: Pod
metadata: {name: web, namespace: shop, labels: {app: web}, annotations: %s}
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[PolicyWorld]:
    async with policy_world(tmp_path_factory.mktemp("limits")) as started:
        yield started


def mesh(connections: dict[str, object], **annotations: str) -> str:
    """Return the mesh's settings."""
    metadata = {"name": "istio", "namespace": "istio-system", "annotations": annotations}
    settings = json.dumps({"defaultConfig": {"connectionSettings": connections}})
    return json.dumps({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"mesh": settings}})


async def lives_by(world: PolicyWorld, *settings: str) -> None:
    """Wait until the workload's Envoy has ``settings`` in its listeners."""

    async def so() -> bool:
        dump = await world.listens_by()
        return all(setting in dump for setting in settings) and "warming_state" not in dump

    await until(so, f"the Envoy has {settings}")


async def sent(world: PolicyWorld, size: int) -> tuple[int, int]:
    """Return the status of a request by HTTP/2 with a body of ``size`` bytes, and how many of them the application got."""
    async with httpx.AsyncClient(http1=False, http2=True, timeout=DEADLINE_S) as client:
        answer = await client.post(f"http://{world.network}.11:{HTTP}/", content=b"x" * size)
    return answer.status_code, int(answer.json()["body-length"])


async def test_large_bodies_pass_whatever_the_windows(world: PolicyWorld) -> None:
    size, passed = 8 * 1024 * 1024, {}
    for window, buffer in ((65_535, 32_768), (1_048_576, 262_144)):
        await world.mesh(
            mesh(
                {
                    "http2InitialStreamWindowSize": window,
                    "http2InitialConnectionWindowSize": 2 * window,
                    "listenerPerConnectionBufferLimitBytes": buffer,
                    "httpMaxConcurrentStreams": 9,
                }
            )
        )
        await lives_by(
            world,
            f'"initial_stream_window_size": {window}',
            f'"initial_connection_window_size": {2 * window}',
            f'"per_connection_buffer_limit_bytes": {buffer}',
            '"max_concurrent_streams": 9',
        )
        passed[window] = await sent(world, size)

    assert passed == {65_535: (200, size), 1_048_576: (200, size)}


async def test_headers_beyond_the_limit_are_refused(world: PolicyWorld) -> None:
    large = {"x-large": "x" * 70 * 1024}
    await world.mesh("")
    before = (await world.ask(who=None, headers=large)).status

    await world.mesh(mesh({}, **{"navarch.io/max-request-headers-kb": "96"}))
    await lives_by(world, '"max_request_headers_kb": 96')
    with_the_mesh_s = (await world.ask(who=None, headers=large)).status

    await world.apply(_POD % json.dumps({"navarch.io/max-request-headers-kb": "16"}))
    await lives_by(world, '"max_request_headers_kb": 16')
    small = {"x-large": "x" * 20 * 1024}
    with_its_own = [(await world.ask(who=None, headers=each)).status for each in (large, small, {})]

    assert (before, with_the_mesh_s, with_its_own) == (_TOO_LARGE, 200, [_TOO_LARGE, _TOO_LARGE, 200])
