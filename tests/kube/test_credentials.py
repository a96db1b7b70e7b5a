"""Credentials that Gateways name, in Secrets of a real API server: who may have them by its rights, and what of them is read."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator

import pytest
from envoy.extensions.transport_sockets.tls.v3.secret_pb2 import Secret

from controlplane.envoy.type_urls import SDS
from controlplane.kube.access import KubernetesAccess
from controlplane.kube.client import connect
from controlplane.model.identity import Identity
from controlplane.serve.sds.access_review import AccessReviews
from tests.support.cluster import Cluster
from tests.support.control_plane import Running, next_delta
from tests.support.kube_control_plane import HOME, identities
from tests.support.pod_proxies import Workload, ads, apply, secrets_of
from tests.support.secure_control_plane import asking
from tests.support.tls_secrets import gateway, pair, secret
from tests.support.waiting import at_most, until
from tests.support.with_cluster import knowing_our_kinds

NUMBERS = itertools.count()
NAME = "kubernetes://shop"


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    cluster = knowing_our_kinds(tmp_path_factory.mktemp("edges"))
    cluster.namespace(HOME)
    yield cluster
    cluster.stop()


@pytest.fixture
def edge(own: Cluster) -> tuple[Cluster, str]:
    """A namespace of its own."""
    return own, own.namespace(f"edge-{next(NUMBERS)}")


def key_of(found: dict[str, Secret]) -> bytes:
    return found[NAME].tls_certificate.private_key.inline_bytes if NAME in found else b""


async def has(running: Running, workload: Workload, key: bytes) -> bool:
    return key_of(await secrets_of(running, workload, NAME)) == key


async def problems(running: Running) -> list[str]:
    found = await running.json("/v1/problems")
    assert isinstance(found, list)
    return [each["message"] for each in found if each["code"] == "BadCredential"]


async def test_t22_an_account_gets_a_credential_by_its_rights_and_not_by_its_namespace(edge: tuple[Cluster, str]) -> None:
    cluster, namespace = edge
    found = pair()
    entitled, curious = Workload.made(cluster, namespace, "front"), Workload.made(cluster, namespace, "curious")
    foreign = Workload.made(cluster, f"{namespace}-x", "front")
    entitled.may_list_secrets()
    foreign.may_list_secrets()
    apply(cluster, namespace, gateway(namespace=namespace))
    apply(cluster, namespace, secret(found, namespace=namespace))
    async with identities(cluster) as running:
        before = [await secrets_of(running, each, NAME, f"kubernetes-gateway://{namespace}/shop") for each in (curious, foreign)]
        await until(lambda: has(running, entitled, found.key))
        after = [await secrets_of(running, each, NAME, f"kubernetes-gateway://{namespace}/shop") for each in (curious, foreign)]

    assert [*before, *after] == [{}, {}, {}, {}]


async def test_s25_an_account_that_has_no_rights_is_a_problem_of_the_gateway(edge: tuple[Cluster, str]) -> None:
    cluster, namespace = edge
    curious = Workload.made(cluster, namespace, "curious")
    apply(cluster, namespace, gateway(namespace=namespace))
    apply(cluster, namespace, secret(pair(), namespace=namespace))
    async with identities(cluster) as running, ads(running, curious.token()) as call:
        await call.write(asking(SDS, curious.node(), NAME))
        answer = await next_delta(call, at_most(3.0))

        async def told() -> bool:
            return any("the service account curious may not list Secrets there" in each for each in await problems(running))

        await until(told)
    assert (list(answer.resources), list(answer.removed_resources)) == ([], [NAME])


async def test_a_secret_that_rotates_is_pushed_and_one_that_is_deleted_is_taken_away(edge: tuple[Cluster, str]) -> None:
    cluster, namespace = edge
    first, second = pair(), pair()
    front = Workload.made(cluster, namespace, "front")
    front.may_list_secrets()
    apply(cluster, namespace, gateway(namespace=namespace))
    apply(cluster, namespace, secret(first, namespace=namespace))
    async with identities(cluster) as running, ads(running, front.token()) as call:
        await call.write(asking(SDS, front.node(), NAME))
        sent = await next_delta(call)
        await call.write(asking(SDS, nonce=sent.nonce))
        await asyncio.to_thread(apply, cluster, namespace, secret(second, namespace=namespace))
        pushed = await next_delta(call)
        await call.write(asking(SDS, nonce=pushed.nonce))
        await asyncio.to_thread(cluster.kubectl, "-n", namespace, "delete", "secret", "shop")
        gone = await next_delta(call)

    keys = [key_of({each.name: Secret.FromString(each.resource.value) for each in answer.resources}) for answer in (sent, pushed)]
    assert keys == [first.key, second.key]
    assert list(gone.removed_resources) == [NAME]


async def test_only_what_is_referred_to_is_read(edge: tuple[Cluster, str]) -> None:
    cluster, namespace = edge
    front = Workload.made(cluster, namespace, "front")
    front.may_list_secrets()
    apply(cluster, namespace, gateway(namespace=namespace))
    for name in ("shop", "database"):
        apply(cluster, namespace, secret(pair(), name, namespace))
    async with identities(cluster) as running:

        async def given() -> bool:
            return set(await secrets_of(running, front, NAME, "kubernetes://database")) == {NAME}

        await until(given)

    lines = [each for each in cluster.audit.read_text().splitlines() if f'"namespace":"{namespace}"' in each and "navarch" in each]
    read = [each for each in lines if f"/namespaces/{namespace}/secrets?" in each]
    assert read
    assert [each for each in read if "fieldSelector=metadata.name%3Dshop" not in each] == []


async def test_rights_are_not_known_while_the_api_server_is_away_and_believed_for_a_while_before(edge: tuple[Cluster, str]) -> None:
    cluster, namespace = edge
    front = Workload.made(cluster, namespace, "front")
    front.may_list_secrets()
    who, other = Identity("cluster.local", namespace, "front"), Identity("cluster.local", namespace, "curious")
    at = 0.0
    async with connect(KubernetesAccess(str(cluster.kubeconfig()))) as client:
        rights = AccessReviews(client, lambda: at)
        before = [await rights.may_read(each) for each in (who, other)]
        cluster.kill_api()
        try:
            during = [await rights.may_read(each) for each in (who, other)]
            at = 60.0
            later = [await rights.may_read(each) for each in (who, other)]
        finally:
            await asyncio.to_thread(cluster.start_api)

    assert (before, during, later) == ([True, False], [True, False], [None, None])
