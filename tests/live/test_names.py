"""Other names of services, hosts in any case, and entries that share one, under real requests between real Envoys."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.support.envoys import HOSTS, LISTENERS, SERVICE_PORT, DemoMesh, peer_authentication_manifest, running

OTHER_NAMES = """apiVersion: v1
kind: Service
metadata: {name: critics, namespace: default}
spec: {type: ExternalName, externalName: reviews.default.svc.cluster.local}
---
apiVersion: v1
kind: Service
metadata: {name: judges, namespace: default}
spec: {type: ExternalName, externalName: critics.default.svc.cluster.local}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: only, namespace: default}
spec:
  hosts: [Only.Example]
  http:
  - match: [{uri: {prefix: /lacks}}]
    route: [{destination: {host: critics, port: {number: 1}}}]
  - route: [{destination: {host: judges}}]
"""
SHARED = """apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: shared-%(name)s, namespace: default}
spec:
  hosts: [%(host)s]
  location: MESH_INTERNAL
  resolution: STATIC
  ports: [{number: %(port)d, name: http, protocol: HTTP, targetPort: %(target)d}]
  endpoints: [{address: %(address)s, labels: {security.istio.io/tlsMode: istio}}]
---
"""
PEER = "spiffe://cluster.local/ns/default/sa/productpage"
pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[DemoMesh]:
    async with running(tmp_path_factory.mktemp("names"), secure=True) as started:
        await started.accepted(started.store.save("peers", peer_authentication_manifest("STRICT")), LISTENERS)
        await started.accepted(started.store.save("names", OTHER_NAMES), HOSTS)
        yield started


@pytest.mark.parametrize(
    "url", [f"http://{name}:{SERVICE_PORT}/reviews/0" for name in ("critics", "Judges.default")] + ["http://only.EXAMPLE/reviews/0"]
)
async def test_another_name_leads_to_the_service_with_mutual_tls(world: DemoMesh, url: str) -> None:
    for instance in world.instances.values():
        instance.callers.clear()

    tally = await world.caller.many(url, 20)

    assert tally.failed == 0, (tally.statuses, tally.errors)
    arrived = {name: dict(instance.callers) for name, instance in world.instances.items() if PEER in instance.callers}
    assert {name.partition("-")[0] for name in arrived} == {"reviews"}
    assert sum(callers[PEER] for callers in arrived.values()) == 20


async def test_a_port_that_the_service_lacks_answers_503_and_nothing_else_is_lost(world: DemoMesh) -> None:
    refused = await world.caller.many("http://only.example/lacks", 3)

    assert dict(refused.statuses) == {503: 3}
    assert (await world.caller.many(f"http://critics:{SERVICE_PORT}/reviews/0", 3)).failed == 0
    assert [(row["object"], row["code"]) for row in await world.problems()] == [("VirtualService/default/only", "UnknownPort")]


async def test_two_entries_of_one_host_are_both_there(world: DemoMesh) -> None:
    entries = [("a", "Shared.example", 7001, "reviews-v1"), ("b", "shared.EXAMPLE", 7002, "ratings-v1")]
    text = "".join(
        SHARED % {"name": name, "host": host, "port": port, "target": SERVICE_PORT, "address": world.instances[instance].ip}
        for name, host, port, instance in entries
    )
    await world.accepted(world.store.save("shared", text), HOSTS)

    for _, host, port, instance in entries:
        world.instances[instance].callers.clear()
        path = "/ratings/0" if instance.startswith("ratings") else "/reviews/0"
        assert (await world.caller.many(f"http://{host}:{port}{path}", 5)).failed == 0
        assert world.instances[instance].callers[PEER] == 5
