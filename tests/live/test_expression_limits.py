"""A long regular expression is warned of where a connected Envoy refuses it, as its bootstrap says how long one may be."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from tests.support.control_plane import Running, control_plane
from tests.support.front_gateway import front_bootstrap
from tests.support.processes import envoy_binary, free_port, start
from tests.support.waiting import until

FRONT = """
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {{name: front, namespace: default}}
spec: {{selector: {{app: front}}, servers: [{{port: {{number: {port}, name: http, protocol: HTTP}}, bind: 127.0.0.1, hosts: ["*"]}}]}}
"""
ROUTES = """
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: {name}, namespace: default}}
spec:
  hosts: [{name}.example]
  gateways: [front]
  http:
  - {{match: [{{uri: {{{match}}}}}], directResponse: {{status: {status}}}}}
"""
NAMES = ("one", "two", "three")
LONG = "regex: '/(aaaa|bbbb|cccc){1,30}'"  # more instructions than an Envoy takes that nobody has told otherwise: 100
WHERE = ("VirtualService/default/two", "spec.http[0].match[0].uri.regex")


class Front:
    """A gateway in an Envoy, the folder that it is configured by, and what was answered by it."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder = folder
        self.port = port
        self.answers: dict[str, list[int]] = {name: [] for name in NAMES}

    def write(self, name: str, status: int, match: str = "prefix: /") -> None:
        (self.folder / f"{name}.yaml").write_text(ROUTES.format(name=name, status=status, match=match))

    async def ask(self) -> None:
        """Ask every host again and again, until cancelled."""
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{self.port}") as client:
            while True:
                for name in NAMES:
                    answer = await client.get("/", headers={"host": f"{name}.example"})
                    self.answers[name].append(answer.status_code)
                await asyncio.sleep(0.02)  # the rate of requests


@asynccontextmanager
async def served(tmp_path: Path, api_type: str, expression_limit: int | None = None) -> AsyncIterator[tuple[Running, Front]]:
    folder = tmp_path / "manifests"
    folder.mkdir()
    front = Front(folder, free_port())
    (folder / "front.yaml").write_text(FRONT.format(port=front.port))
    for name in NAMES:
        front.write(name, 201)
    async with control_plane(folder) as running:
        config = front_bootstrap(running.at.xds, api_type, expression_limit)
        command = [envoy_binary(), "--config-yaml", config, "--use-dynamic-base-id", "--log-level", "warning"]
        envoy = await start("envoy", command, tmp_path)
        try:

            async def answers() -> bool:
                try:
                    answer = await asyncio.to_thread(httpx.get, f"http://127.0.0.1:{front.port}/", headers={"host": "one.example"})
                except httpx.TransportError:
                    return False
                return answer.status_code == 201

            await until(answers, "the gateway answers", watched=envoy)
            yield running, front
        finally:
            await envoy.stop()


async def told(running: Running, code: str = "Refused") -> list[tuple[object, object]]:
    rows = await running.json("/v1/problems")
    assert isinstance(rows, list)
    return [(row["object"], row["field"]) for row in rows if row["code"] == code]


@pytest.mark.parametrize(("limit", "refused"), [(None, True), (32768, False)])
async def test_a_long_expression_is_warned_of_where_a_connected_envoy_refuses_it(
    tmp_path: Path, limit: int | None, *, refused: bool
) -> None:
    async with served(tmp_path, "DELTA_GRPC", limit) as (running, front), asyncio.TaskGroup() as tasks:
        asking = tasks.create_task(front.ask())
        front.write("two", 202, LONG)
        front.write("three", 202)
        await until(lambda: front.answers["three"] and front.answers["three"][-1] == 202, "the last edit arrives")

        async def is_told() -> bool:
            return bool(await told(running)) is refused

        await until(is_told, "the refusal is a Problem, or there is none")
        warned = await told(running, "LargeExpression")
        asking.cancel()

    assert warned == ([WHERE] if refused else [])
