"""Limits on requests, with real Envoys and Envoy's own rate limit service: who is counted apart, who is refused, and what is told.

The service has its configuration from the control plane, by an Envoy beside it that shows the token of its service account.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
import pytest_asyncio

from controlplane.bootstrap.xds_cluster import XdsServer
from controlplane.bootstrap.xds_relay import xds_relay
from tests.support.envoys import CredentialFiles
from tests.support.mesh_clients import FRIEND, STRANGER
from tests.support.policy_world import PolicyWorld, policy_world
from tests.support.processes import Process, envoy_binary, start
from tests.support.rate_limit_service import RateLimitService, running_redis
from tests.support.waiting import until

pytestmark = pytest.mark.asyncio(loop_scope="module")

_MARKER = """
apiVersion: navarch.dev/v1alpha1
kind: RateLimit
metadata: {{name: marker, namespace: shop}}
spec: {{rules: [{{match: {{paths: [{path}]}}, limit: {{requests: 1, per: 24h}}}}]}}
"""
_LOCAL = """
apiVersion: navarch.dev/v1alpha1
kind: RateLimit
metadata: {name: local, namespace: shop}
spec:
  selector: {matchLabels: {app: web}}
  rules:
  - match: {paths: [/users/*]}
    perValue: {header: x-user, overrides: [{value: vip, limit: {requests: 4, per: 1h}}]}
    limit: {requests: 2, per: 1h}
  - match: {paths: [/writes], methods: [POST], headers: [{name: x-tier, values: [free*], notValues: [free-trial]}]}
    limit: {requests: 1, per: 1h}
  - match: {paths: [/callers]}
    perValue: {source: Principal}
    limit: {requests: 1, per: 1h}
  - match: {paths: [/strangers], source: {notNamespaces: [shop]}}
    limit: {requests: 1, per: 1h}
  response: {headers: [{name: x-limited, value: "yes"}]}
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[PolicyWorld]:
    async with policy_world(tmp_path_factory.mktemp("limits")) as started:
        yield started


class Limits:
    """The limits of the workload: each new version is waited for until the Envoy counts by it, in buckets that are full."""

    def __init__(self) -> None:
        self._numbers = itertools.count()

    async def apply(self, world: PolicyWorld, text: str) -> None:
        path = f"/lives-by-it-{next(self._numbers)}"
        marker = _MARKER.format(path=path)

        async def counts() -> bool:
            return (await world.ask(path)).status in (429, 503)

        await world.apply(f"{text}\n---\n{marker}")
        await until(counts, "the Envoy counts by it", watched=world.envoys["web"])


LIMITS = Limits()


async def statuses(world: PolicyWorld, count: int, path: str, **more: object) -> list[int]:
    return [(await world.ask(path, **more)).status for _ in range(count)]  # type: ignore[arg-type]


async def test_each_value_has_a_limit_of_its_own_and_some_another(world: PolicyWorld) -> None:
    await LIMITS.apply(world, _LOCAL)

    assert await statuses(world, 3, "/users/a", headers={"x-user": "a"}) == [200, 200, 429]
    assert await statuses(world, 3, "/users/a", headers={"x-user": "b"}) == [200, 200, 429]
    assert await statuses(world, 5, "/users/b", headers={"x-user": "vip"}) == [200, 200, 200, 200, 429]
    assert await statuses(world, 2, "/users/b") == [200, 200]
    assert await statuses(world, 1, "/users/b", headers={"x-user": ""}) == [429]  # whoever says nothing shares one limit
    assert await statuses(world, 4, "/user") == [200] * 4


async def test_a_rule_counts_what_fits_all_that_it_asks(world: PolicyWorld) -> None:
    await LIMITS.apply(world, _LOCAL)
    free = {"x-tier": "free"}

    assert await statuses(world, 2, "/writes?a=b", method="POST", headers=free) == [200, 429]
    assert await statuses(world, 2, "/writes", method="GET", headers=free) == [200, 200]
    assert await statuses(world, 2, "/writes", method="POST", headers={"x-tier": "free-trial"}) == [200, 200]
    assert await statuses(world, 2, "/writes", method="POST") == [200, 200]


async def test_callers_are_told_apart_by_their_certificates(world: PolicyWorld) -> None:
    await LIMITS.apply(world, _LOCAL)

    assert await statuses(world, 2, "/callers", who=FRIEND) == [200, 429]
    assert await statuses(world, 2, "/callers", who=STRANGER) == [200, 429]
    assert await statuses(world, 2, "/callers", who=None) == [200, 429]
    assert await statuses(world, 2, "/strangers", who=FRIEND) == [200, 200]
    assert await statuses(world, 2, "/strangers", who=STRANGER) == [200, 429]
    assert await statuses(world, 2, "/strangers", who=None) == [200, 429]  # a filter chain of its own counts apart


async def test_answers_say_what_is_left_and_when_to_come_again(world: PolicyWorld) -> None:
    await LIMITS.apply(world, _LOCAL)
    user = {"x-user": "told"}
    first, _, refused = [await world.ask("/users/", headers=user) for _ in range(3)]

    assert (first.headers["x-ratelimit-limit"], first.headers["x-ratelimit-remaining"]) == ("2", "1")
    assert (refused.headers["x-ratelimit-remaining"], refused.headers["x-limited"]) == ("0", "yes")
    assert int(refused.headers["retry-after"]) > 0
    assert "x-ratelimit-limit" not in (await world.ask("/")).headers


async def test_a_dry_run_counts_and_refuses_nothing(world: PolicyWorld) -> None:
    await LIMITS.apply(world, _LOCAL.replace("rules:", "mode: DryRun\n  rules:", 1))
    before = await world.counted("http_local_rate_limit.rate_limited")

    assert await statuses(world, 3, "/users/a", headers={"x-user": "a"}) == [200, 200, 200]
    assert await world.counted("http_local_rate_limit.rate_limited") == before + 1


async def test_one_that_cannot_be_used_fails_as_it_says(world: PolicyWorld) -> None:
    await LIMITS.apply(world, _LOCAL)
    broken = _LOCAL.replace("requests: 1,", "requests: none,")
    await LIMITS.apply(world, broken.replace("rules:", "failure: Closed\n  rules:", 1))

    closed = await world.ask("/anything")
    await LIMITS.apply(world, broken)

    assert closed.status == 503
    assert await statuses(world, 3, "/users/c", headers={"x-user": "c"}) == [200, 200, 200]


_GLOBAL = """
apiVersion: navarch.dev/v1alpha1
kind: RateLimit
metadata: {{name: global, namespace: shop}}
spec:
  targetRefs: [{{kind: Service, name: web}}]
  global: {{service: {{host: ratelimit.shop.svc.cluster.local, port: {port}}}, timeout: 5s}}
  failure: {failure}
  rules:
  - match: {{paths: [/counted]}}
    perValue: {{header: x-user, overrides: [{{value: vip, limit: {{requests: 3, per: 24h}}}}]}}
    limit: {{requests: {requests}, per: 24h}}
"""
_AROUND = """
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: ratelimit, namespace: shop}}
spec:
  hosts: [ratelimit.shop.svc.cluster.local]
  ports: [{{number: 8081, name: grpc, protocol: GRPC, targetPort: {counting}}}]
  resolution: STATIC
  endpoints: [{{address: 127.0.0.1}}]
"""
_COUNTED = "shop/global.rule_0.value: unit=DAY requests_per_unit={requests}"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service(world: PolicyWorld) -> AsyncIterator[RateLimitService]:
    folder = world.folder / "service"
    folder.mkdir()
    settings = {
        "CONFIG_TYPE": "GRPC_XDS_SOTW",
        "CONFIG_GRPC_XDS_SERVER_URL": f"{world.network}.13:15011",
        "CONFIG_GRPC_XDS_NODE_ID": "ratelimit~127.0.0.1~ratelimit-1.shop~shop.svc.cluster.local",
        "CONFIG_GRPC_XDS_NODE_METADATA": "NAMESPACE=shop,SERVICE_ACCOUNT=ratelimit",
        "XDS_CLIENT_BACKOFF_INITIAL_INTERVAL": "100ms",
    }
    started = RateLimitService(folder, "127.0.0.1", settings)
    await world.mesh(_AROUND.format(counting=started.port))
    relay = await start_relay(world, folder)
    async with running_redis(folder) as redis_port:
        await started.start(redis_port)
        try:
            yield started
        finally:
            await started.stop()
            await relay.stop()


async def start_relay(world: PolicyWorld, folder: Path) -> Process:
    """Start the Envoy beside the service, which shows the token of its service account for it."""
    files = CredentialFiles(folder / "credentials")
    files.write(token=world.token("shop", "ratelimit"), roots=world.authority.bundle.decode())
    config = folder / "relay.json"
    config.write_text(
        json.dumps(xds_relay(f"{world.network}.13:15011", XdsServer(addresses=(world.plane.replica.xds_tls,), credentials=files.files)))
    )
    options = ["--use-dynamic-base-id", "--concurrency", "1", "--log-level", "warning"]
    return await start("relay", [envoy_binary(), "-c", str(config), *options], folder)


def counted(failure: str = "Open", requests: int = 2, port: int = 8081) -> str:
    return _GLOBAL.format(failure=failure, requests=requests, port=port)


async def test_a_rate_limit_service_has_its_limits_from_us_and_counts_for_all(world: PolicyWorld, service: RateLimitService) -> None:
    await LIMITS.apply(world, counted())
    await service.counts(_COUNTED.format(requests=2))
    found = [await world.ask("/counted", headers={"x-user": "a"}) for _ in range(3)]

    assert [each.status for each in found] == [200, 200, 429]
    assert found[0].headers["x-ratelimit-remaining"] == "1"
    assert await statuses(world, 3, "/counted", headers={"x-user": "b"}) == [200, 200, 429]
    assert await statuses(world, 4, "/counted", headers={"x-user": "vip"}) == [200, 200, 200, 429]
    assert await statuses(world, 3, "/", headers={"x-user": "a"}) == [200, 200, 200]


async def test_a_change_of_a_limit_is_with_the_service_at_once(world: PolicyWorld, service: RateLimitService) -> None:
    await LIMITS.apply(world, counted(requests=1))
    await service.counts(_COUNTED.format(requests=1))
    await LIMITS.apply(world, counted(requests=4))
    await service.counts(_COUNTED.format(requests=4))

    assert await statuses(world, 5, "/counted", headers={"x-user": "c"}) == [200, 200, 200, 200, 429]


async def test_without_the_service_a_limit_fails_as_it_says(world: PolicyWorld, service: RateLimitService) -> None:
    await LIMITS.apply(world, counted())
    await service.stop()

    assert await statuses(world, 3, "/counted", headers={"x-user": "d"}) == [200, 200, 200]
    assert await world.counted("ratelimit.shop/global.failure_mode_allowed") >= 3
    await LIMITS.apply(world, counted("Closed"))
    assert await statuses(world, 1, "/counted", headers={"x-user": "d"}) == [503]
    assert await statuses(world, 1, "/") == [200]  # of these nobody is asked
    await world.apply(counted("Closed", port=8082))
    await until(refuses_everything(world), "without a service, one that fails closed refuses everything")


def refuses_everything(world: PolicyWorld) -> Callable[[], Awaitable[bool]]:
    async def holds() -> bool:
        return (await world.ask("/")).status == 503

    return holds
