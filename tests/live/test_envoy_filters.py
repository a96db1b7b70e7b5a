"""EnvoyFilters of the shapes that Istio's documentation has, on real Envoys: limits of rates, Lua, and what a proxy refuses."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.support.fakes.rate_limit_service import RateLimitService
from tests.support.policy_world import PolicyWorld, policy_world
from tests.support.waiting import until

pytestmark = pytest.mark.asyncio(loop_scope="module")

_HEAD = """apiVersion: networking.istio.io/v1alpha3
kind: EnvoyFilter
metadata: {{name: {name}, namespace: istio-system}}
spec:
  workloadSelector: {{labels: {{app: {app}}}}}
  configPatches:
"""
_ROUTER = """
  - applyTo: HTTP_FILTER
    match:
      context: SIDECAR_INBOUND
      listener:
        filterChain:
          filter:
            name: envoy.filters.network.http_connection_manager
            subFilter:
              name: envoy.filters.http.router
    patch:
      operation: INSERT_BEFORE
"""
LOCAL_LIMIT = (
    _HEAD
    + """
  - applyTo: HTTP_FILTER
    match:
      context: SIDECAR_INBOUND
      listener:
        filterChain:
          filter:
            name: "envoy.filters.network.http_connection_manager"
    patch:
      operation: INSERT_BEFORE
      value:
        name: envoy.filters.http.local_ratelimit
        typed_config:
          "@type": type.googleapis.com/udpa.type.v1.TypedStruct
          type_url: type.googleapis.com/envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit
          value:
            stat_prefix: http_local_rate_limiter
            token_bucket:
              max_tokens: 4
              tokens_per_fill: 4
              fill_interval: 3600s
            filter_enabled:
              runtime_key: local_rate_limit_enabled
              default_value: {{numerator: 100, denominator: HUNDRED}}
            filter_enforced:
              runtime_key: local_rate_limit_enforced
              default_value: {{numerator: 100, denominator: HUNDRED}}
            response_headers_to_add:
            - append: false
              header: {{key: x-local-rate-limit, value: "true"}}
"""
)
GLOBAL_LIMIT = (
    _HEAD
    + _ROUTER
    + """
      value:
        name: envoy.filters.http.ratelimit
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.http.ratelimit.v3.RateLimit
          domain: productpage-ratelimit
          failure_mode_deny: true
          timeout: 10s
          rate_limit_service:
            grpc_service:
              envoy_grpc:
                cluster_name: outbound|8081||ratelimit.default.svc.cluster.local
                authority: ratelimit.default.svc.cluster.local
            transport_api_version: V3
  - applyTo: VIRTUAL_HOST
    match:
      context: SIDECAR_INBOUND
      routeConfiguration:
        vhost:
          name: ""
          route:
            action: ANY
    patch:
      operation: MERGE
      value:
        rate_limits:
        - actions:
          - request_headers: {{header_name: ":path", descriptor_key: PATH}}
"""
)
SERVICE = """---
apiVersion: v1
kind: Service
metadata: {{name: ratelimit, namespace: default}}
spec: {{selector: {{app: ratelimit}}, ports: [{{name: grpc-port, port: 8081}}]}}
---
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {{name: ratelimit, namespace: default}}
spec: {{address: {network}.41, labels: {{app: ratelimit}}}}
"""
LUA = (
    _HEAD
    + _ROUTER
    + """
      value:
        name: envoy.filters.http.lua
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua
          defaultSourceCode:
            inlineString: |
              function envoy_on_request(handle)
                handle:headers():add("x-lua", handle:headers():get(":path"))
              end
              function envoy_on_response(handle)
                handle:headers():add("x-answered", "by lua")
              end
  - applyTo: NETWORK_FILTER
    match: {{context: SIDECAR_INBOUND, listener: {{filterChain: {{filter: {{name: envoy.filters.network.http_connection_manager}}}}}}}}
    patch:
      operation: MERGE
      value:
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          server_header_transformation: OVERWRITE
          server_name: patched
"""
)
UNKNOWN = (
    LUA
    + _ROUTER
    + """
      value:
        name: of.another.build
        typed_config:
          "@type": type.googleapis.com/xds.type.v3.TypedStruct
          type_url: type.googleapis.com/envoy.extensions.filters.http.of_another_build.v3.Config
          value: {{a: 1}}
"""
)
OUTBOUND = (
    _HEAD
    + """
  - applyTo: HTTP_ROUTE
    match:
      context: SIDECAR_OUTBOUND
      routeConfiguration: {{vhost: {{name: "web.shop.svc.cluster.local:9080"}}}}
    patch:
      operation: INSERT_FIRST
      value: {{name: teapot, match: {{prefix: /teapot}}, direct_response: {{status: 418}}}}
"""
)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[PolicyWorld]:
    async with policy_world(tmp_path_factory.mktemp("patches")) as started:
        yield started


async def given(world: PolicyWorld, text: str, app: str = "web") -> None:
    """Let ``text`` be the EnvoyFilter there is, for the workload ``app``, and wait until the Envoy of ``web`` lives by it."""
    await world.mesh(text.format(name="patches", app=app, network=world.network))
    await world.apply()


async def test_a_local_limit_answers_429_when_its_bucket_is_empty(world: PolicyWorld) -> None:
    await given(world, LOCAL_LIMIT)

    answers = [await world.ask() for _ in range(6)]

    assert [answer.status for answer in answers] == [200] * 4 + [429] * 2
    assert answers[-1].headers["x-local-rate-limit"] == "true"


async def test_a_global_limit_asks_a_service_whose_cluster_comes_with_it(world: PolicyWorld) -> None:
    service = RateLimitService("/limited")
    async with service.serve(f"{world.network}.41:8081"):
        await given(world, GLOBAL_LIMIT + SERVICE)

        async def decides() -> bool:
            return [(await world.ask(path)).status for path in ("/free", "/limited")] == [200, 429]

        await until(decides, "the service decides")

    assert ("productpage-ratelimit", (("PATH", "/limited"),)) in service.asked


async def test_a_script_sees_requests_and_answers(world: PolicyWorld) -> None:
    await given(world, LUA)

    answer = await world.ask("/hello")

    assert (answer.status, answer.seen["x-lua"], answer.headers["x-answered"], answer.headers["server"]) == (
        200,
        "/hello",
        "by lua",
        "patched",
    )
    assert [problem for problem in await world.problems() if "EnvoyFilter" in problem[0]] == []


async def test_a_patch_that_an_envoy_refuses_is_left_out_and_the_others_stay(world: PolicyWorld) -> None:
    await given(world, UNKNOWN)

    async def is_told() -> bool:
        return any("refused Listener" in message for _, _, message in await world.problems())

    await until(is_told, "the refusal is a Problem")
    await world.apply()
    answer = await world.ask("/hello")
    told = [problem for problem in await world.problems() if "has it without" in problem[2]]
    print(told)

    assert (answer.status, answer.headers["x-answered"]) == (200, "by lua")
    assert {problem[:2] for problem in told} == {("EnvoyFilter/istio-system/patches", "spec.configPatches[2].patch")}

    await given(world, LUA)
    await until(lambda: world.has_no_problem_of("EnvoyFilter"), "nothing is refused any more")


async def test_a_route_of_a_virtual_host_that_comes_by_itself_is_patched(world: PolicyWorld) -> None:
    await world.mesh(OUTBOUND.format(name="patches", app="caller"))

    async def is_patched() -> bool:
        return await world.through_own_envoy("/teapot") == 418

    await until(is_patched, "the route is there")
    assert await world.through_own_envoy("/other") == 200
