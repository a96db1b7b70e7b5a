"""Who is let in where a real API server knows the tokens."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import grpc
import pytest
from cryptography import x509

from controlplane.envoy.type_urls import SDS
from controlplane.kube.access import KubernetesAccess
from controlplane.kube.client import connect
from controlplane.serve.authn.authenticators import TokenSubject, Unauthenticated
from controlplane.serve.authn.tokens import TokenReviews
from tests.support.cluster import Cluster
from tests.support.control_plane import next_delta, status_of
from tests.support.kube_control_plane import HOME, IDENTIFIED, identities, serving
from tests.support.pod_proxies import Workload, ads, secrets_of
from tests.support.secure_control_plane import asking
from tests.support.waiting import at_most, until


class Clock:
    """A monotonic clock that stands still until it is told."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


async def test_the_token_of_a_pod_brings_its_identity_and_only_for_its_own_node(home: Cluster) -> None:
    workload = await asyncio.to_thread(Workload.made, home, "doors", "client")
    other = await asyncio.to_thread(Workload.made, home, "doors", "client", "client-2")
    async with identities(home) as running:
        found = await secrets_of(running, workload)
        chain = x509.load_pem_x509_certificate(found["default"].tls_certificate.certificate_chain.inline_bytes)
        names = chain.extensions.get_extension_for_class(x509.SubjectAlternativeName).value

        assert names.get_values_for_type(x509.UniformResourceIdentifier) == ["spiffe://cluster.local/ns/doors/sa/client"]
        async with ads(running, workload.token()) as call:
            await call.write(asking(SDS, other.node(), "default"))
            assert (await status_of(call))[0] is grpc.StatusCode.PERMISSION_DENIED


async def test_t11_a_token_is_nobodys_once_its_pod_is_deleted(home: Cluster) -> None:
    workload = await asyncio.to_thread(Workload.made, home, "doors", "leaver")
    token = workload.token()
    clock = Clock()
    async with connect(KubernetesAccess(str(home.kubeconfig()))) as client:
        token_reviewer = TokenReviews(client, "istio-ca", clock)
        assert await token_reviewer.subject(token) == TokenSubject("doors", "leaver", "leaver-1")
        await asyncio.to_thread(workload.delete)

        async def denied() -> bool:
            clock.now_s += 60.0  # longer than anybody of ours believes what was said before
            try:
                await token_reviewer.subject(token)
            except Unauthenticated:
                return True
            return False

        await until(denied)  # the API server itself believes for 10 s


@pytest.mark.parametrize("wrong", ["another", "no", "garbage"])
async def test_t20_tokens_for_somebody_else_are_nobodys(home: Cluster, wrong: str) -> None:
    workload = await asyncio.to_thread(Workload.made, home, f"doors-{wrong.split(maxsplit=1)[0]}", "client")
    token = {"another": workload.token("vault"), "no": workload.token("https://kubernetes.default.svc"), "garbage": "a.b.c"}[wrong]
    async with identities(home) as running, ads(running, token) as call:
        await call.write(asking(SDS, workload.node(), "default"))

        assert await status_of(call) == (grpc.StatusCode.UNAUTHENTICATED, "unauthenticated")


async def test_s28_while_the_api_server_is_away_nobody_new_comes_in_and_those_who_are_in_renew(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path / "own", controllers=False)
    try:
        cluster.namespace(HOME)
        workload, other = Workload.made(cluster, "doors", "client"), Workload.made(cluster, "doors", "other")
        assert IDENTIFIED.identity
        short = replace(IDENTIFIED, identity=replace(IDENTIFIED.identity, leaf_lifetime_s=10.0))
        async with serving(cluster.kubeconfig(), more=short) as running, ads(running, workload.token()) as call:
            await call.write(asking(SDS, workload.node(), "default"))
            first = await next_delta(call)
            await call.write(asking(SDS, nonce=first.nonce))
            tokens = [other.token(), other.token()]
            cluster.kill_api()

            renewed = await next_delta(call, at_most(15))

            assert [each.name for each in renewed.resources] == ["default"]
            async with ads(running, tokens[0]) as late:
                assert (await status_of(late))[0] is grpc.StatusCode.UNAVAILABLE
            await asyncio.to_thread(cluster.start_api)
            async with ads(running, tokens[1]) as late:
                await late.write(asking(SDS, other.node(), "default"))
                assert [each.name for each in (await next_delta(late)).resources] == ["default"]
    finally:
        cluster.stop()
