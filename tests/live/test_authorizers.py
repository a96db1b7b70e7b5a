"""Policies with the action CUSTOM: real authorizers by HTTP and gRPC are asked, and what becomes of requests while they are down."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Mapping

import grpc
import grpc.aio
import pytest
import pytest_asyncio
from aiohttp import web
from envoy.service.auth.v3.external_auth_pb2 import CheckRequest, CheckResponse
from envoy.type.v3.http_status_pb2 import StatusCode

from tests.support.authorization import ALLOWED, DENIED, by, policy, to
from tests.support.mesh_clients import FRIEND, STRANGER
from tests.support.policy_world import PolicyWorld, policy_world

pytestmark = pytest.mark.asyncio(loop_scope="module")

_AROUND = """
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: authorizers, namespace: shop}}
spec:
  hosts: [by-http.example]
  ports: [{{number: 9000, name: http, protocol: HTTP}}]
  resolution: STATIC
  endpoints: [{{address: {net}.61}}]
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: more-authorizers, namespace: shop}}
spec:
  hosts: [by-grpc.example]
  ports: [{{number: 9001, name: grpc, protocol: GRPC}}]
  resolution: STATIC
  endpoints: [{{address: {net}.62}}]
---
apiVersion: v1
kind: ConfigMap
metadata: {{name: istio, namespace: istio-system}}
data:
  mesh: |
    extensionProviders:
    - name: by-http
      envoyExtAuthzHttp:
        service: by-http.example
        port: 9000
        pathPrefix: /check
        includeRequestHeadersInCheck: [x-pass]
        headersToUpstreamOnAllow: [x-user]
        headersToDownstreamOnDeny: [x-why]
        statusOnError: "503"
        timeout: 2s
    - name: by-grpc
      envoyExtAuthzGrpc: {{service: by-grpc.example, port: 9001, timeout: 2s}}
    - name: by-grpc-open
      envoyExtAuthzGrpc: {{service: by-grpc.example, port: 9001, timeout: 2s, failOpen: true}}
    - name: by-http-open
      envoyExtAuthzHttp: {{service: by-http.example, port: 9000, timeout: 2s, failOpen: true}}
"""


class ByHttp:
    """Lets requests through that have ``x-pass: yes``."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    @contextlib.asynccontextmanager
    async def serving(self, ip: str) -> AsyncIterator[None]:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._check)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, ip, 9000).start()
        try:
            yield
        finally:
            await runner.cleanup()

    async def _check(self, request: web.Request) -> web.Response:
        self.asked.append(f"{request.method} {request.path}")
        if request.headers.get("x-pass") == "yes":
            return web.Response(headers={"x-user": "alice", "x-hidden": "hidden"})
        return web.Response(status=403, headers={"x-why": "no pass", "x-hidden": "hidden"})


class ByGrpc:
    """Lets requests through that have ``x-pass: yes``, and connections of friends."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    @contextlib.asynccontextmanager
    async def serving(self, ip: str) -> AsyncIterator[None]:
        server = grpc.aio.server()
        check = grpc.unary_unary_rpc_method_handler(
            self._check, request_deserializer=CheckRequest.FromString, response_serializer=CheckResponse.SerializeToString
        )
        server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("envoy.service.auth.v3.Authorization", {"Check": check})])
        server.add_insecure_port(f"{ip}:9001")
        await server.start()
        try:
            yield
        finally:
            await server.stop(None)

    async def _check(self, request: CheckRequest, context: object) -> CheckResponse:
        del context
        asked = request.attributes
        self.asked.append(asked.request.http.path or asked.source.principal)
        answer = CheckResponse()
        if asked.request.http.headers.get("x-pass") == "yes" or (not asked.request.http.path and asked.source.principal == FRIEND.uri):
            added = answer.ok_response.headers.add()
            added.header.key, added.header.value = "x-user", "bob"
        else:
            answer.status.code = grpc.StatusCode.PERMISSION_DENIED.value[0]
            answer.denied_response.status.code = StatusCode.Locked
        return answer


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[PolicyWorld]:
    async with policy_world(tmp_path_factory.mktemp("authorizers")) as started:
        await started.mesh(_AROUND.format(net=started.network))
        yield started


PASS = {"x-pass": "yes"}


def asking(provider: str, *rules: Mapping[str, object]) -> str:
    return policy("asking", *(rules or (to(paths=["/judged*"]),)), action="CUSTOM", provider={"name": provider})


async def test_an_authorizer_by_http_is_asked_for_what_the_policy_is_about_and_nothing_else(world: PolicyWorld) -> None:
    await world.apply(asking("by-http"))
    authorizer = ByHttp()
    async with authorizer.serving(f"{world.network}.61"):
        good = await world.ask("/judged/1", headers={**PASS, "x-user": "mallory"}, method="POST")
        bad = await world.ask("/judged/2")
        other = await world.ask("/other")

    assert (good.status, bad.status, other.status) == (ALLOWED, DENIED, ALLOWED)
    assert authorizer.asked == ["POST /check/judged/1", "GET /check/judged/2"]
    assert good.seen["x-user"] == "alice"
    assert "x-hidden" not in good.seen
    assert (bad.headers.get("x-why"), bad.headers.get("x-hidden")) == ("no pass", None)


async def test_an_authorizer_by_grpc_is_asked_with_the_identity_of_who_asks(world: PolicyWorld) -> None:
    await world.apply(asking("by-grpc", by(namespaces=["elsewhere"])))
    authorizer = ByGrpc()
    async with authorizer.serving(f"{world.network}.62"):
        good = await world.ask("/a", headers=PASS, who=STRANGER)
        bad = await world.ask("/b", who=STRANGER)
        friend = await world.ask("/c")

    assert (good.status, bad.status, friend.status) == (ALLOWED, StatusCode.Locked, ALLOWED)
    assert authorizer.asked == ["/a", "/b"]
    assert good.seen["x-user"] == "bob"


async def test_what_an_authorizer_allows_may_still_be_denied(world: PolicyWorld) -> None:
    denied = policy("denied", to(paths=["/judged/secret"]), action="DENY")
    await world.apply(f"{asking('by-http')}\n---\n{denied}\n---\n{policy('allowed', by(namespaces=['shop']))}")
    async with ByHttp().serving(f"{world.network}.61"):
        found = [
            await world.ask("/judged", headers=PASS),
            await world.ask("/judged/secret", headers=PASS),
            await world.ask("/judged", headers=PASS, who=STRANGER),
            await world.ask("/judged"),
        ]

    assert [each.status for each in found] == [ALLOWED, DENIED, DENIED, DENIED]


@pytest.mark.parametrize(
    ("provider", "wanted"), [("by-http", 503), ("by-grpc", DENIED), ("by-http-open", ALLOWED), ("by-grpc-open", ALLOWED)]
)
async def test_an_authorizer_that_is_down_refuses_unless_the_settings_say_otherwise(world: PolicyWorld, provider: str, wanted: int) -> None:
    await world.apply(asking(provider))

    found = [(await world.ask(path, headers=PASS)).status for path in ("/judged", "/other")]

    assert found == [wanted, ALLOWED]


async def test_a_provider_that_nobody_has_named_refuses_what_fits_and_is_told(world: PolicyWorld) -> None:
    await world.apply(asking("nobody"))

    found = [(await world.ask(path, headers=PASS)).status for path in ("/judged", "/other")]

    assert found == [DENIED, ALLOWED]
    assert any("nobody" in message for _, _, message in await world.problems())


async def test_connections_are_judged_by_an_authorizer_by_grpc(world: PolicyWorld) -> None:
    await world.apply(asking("by-grpc", {}))
    authorizer = ByGrpc()
    async with authorizer.serving(f"{world.network}.62"):
        found = [await world.talk(b"hello", who=who) == b"hello" for who in (FRIEND, STRANGER, None)]
    down = await world.talk(b"hello")

    assert (found, down) == ([True, False, False], b"")
    assert authorizer.asked[0] == FRIEND.uri
