"""Who comes in, and what of the secrets they get: by gRPC clients over real TLS."""

from __future__ import annotations

import contextlib
import datetime as dt
import time
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest
import pytest_asyncio
from cryptography import x509
from envoy.config.endpoint.v3.endpoint_pb2 import ClusterLoadAssignment
from envoy.extensions.transport_sockets.tls.v3.secret_pb2 import Secret
from envoy.service.discovery.v3.discovery_pb2 import DeltaDiscoveryResponse

from controlplane.envoy.type_urls import CDS, EDS, LDS, SDS
from tests.support.control_plane import DeltaCall, delta, next_delta, status_of
from tests.support.secure_control_plane import Secure, asking, node, secure, stream
from tests.support.waiting import at_most, within


@pytest_asyncio.fixture
async def plane(tmp_path: Path) -> AsyncIterator[Secure]:
    folder = tmp_path / "manifests"
    folder.mkdir()
    async with secure(folder) as found:
        yield found


def by_tls(plane: Secure) -> grpc.ChannelCredentials:
    return grpc.ssl_channel_credentials(plane.roots)


async def secrets(plane: Secure, *, account: str = "client", names: tuple[str, ...] = ("default", "ROOTCA")) -> dict[str, Secret]:
    assert plane.running.at.xds_tls
    async with stream(plane.running.at.xds_tls, by_tls(plane), token=plane.token(account=account)) as call:
        await call.write(asking(SDS, node(account=account), *names))
        answer = await next_delta(call)
        return {each.name: Secret.FromString(each.resource.value) for each in answer.resources}


async def test_a_token_brings_a_certificate_that_says_who_its_bearer_is_and_nothing_else(plane: Secure) -> None:
    found = await secrets(plane)

    chain = found["default"].tls_certificate.certificate_chain.inline_bytes
    leaf = x509.load_pem_x509_certificate(chain)
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [each.value for each in names] == ["spiffe://cluster.local/ns/default/sa/client"]
    assert leaf.not_valid_after_utc - leaf.not_valid_before_utc <= dt.timedelta(days=1, minutes=3)
    assert found["ROOTCA"].validation_context.trusted_ca.inline_bytes == plane.roots
    leaf.verify_directly_issued_by(x509.load_pem_x509_certificate(plane.roots))


async def test_the_certificate_of_a_token_opens_the_address_that_asks_for_one(plane: Secure) -> None:
    own = (await secrets(plane))["default"].tls_certificate
    credentials = grpc.ssl_channel_credentials(plane.roots, own.private_key.inline_bytes, own.certificate_chain.inline_bytes)
    assert plane.running.at.xds_mtls

    async with stream(plane.running.at.xds_mtls, credentials) as call:
        await call.write(asking(SDS, node(), "default"))
        answer = await next_delta(call)

    assert [each.name for each in answer.resources] == ["default"]


async def test_in_the_clear_nobody_gets_a_secret_and_is_told_so_at_once(plane: Secure) -> None:
    async with delta(plane.running.at.xds) as call:
        await call.write(asking(SDS, node(), "default", "ROOTCA"))
        answer = await next_delta(call, at_most(1.0))

    assert list(answer.resources) == []
    assert sorted(answer.removed_resources) == ["ROOTCA", "default"]


@pytest.mark.parametrize("wrong", ["none", "garbage", "audience", "two"])
async def test_t20_no_stream_without_a_token_that_is_ours(plane: Secure, wrong: str) -> None:
    given = {"none": None, "garbage": "a.b.c", "audience": plane.token(audience="other"), "two": plane.token() + ".x"}[wrong]
    assert plane.running.at.xds_tls
    async with stream(plane.running.at.xds_tls, by_tls(plane), token=given) as call:
        assert await status_of(call) == (grpc.StatusCode.UNAUTHENTICATED, "unauthenticated")


@pytest.mark.parametrize(
    "who",
    [
        node(namespace="other"),
        node(account="other"),
        {**node(), "id": "sidecar~10.0.0.1~client.other~other.svc.cluster.local"},
        {**node(), "metadata": {}},
        {**node(), "metadata": {"NAMESPACE": "default"}},
        {**node(), "metadata": {"SERVICE_ACCOUNT": "client"}},
    ],
    ids=["namespace", "account", "id", "empty", "no account", "no namespace"],
)
async def test_t21_s24_a_node_of_somebody_else_is_refused(plane: Secure, who: dict[str, object]) -> None:
    own = (await secrets(plane))["default"].tls_certificate
    shown = grpc.ssl_channel_credentials(plane.roots, own.private_key.inline_bytes, own.certificate_chain.inline_bytes)
    assert plane.running.at.xds_mtls
    async with stream(plane.running.at.xds_mtls, shown) as call:
        await call.write(asking(CDS, who))

        assert await status_of(call) == (grpc.StatusCode.PERMISSION_DENIED, "the node is not of this identity")
    assert plane.running.at.xds_tls
    async with stream(plane.running.at.xds_tls, by_tls(plane), token=plane.token()) as call:
        await call.write(asking(CDS, who))

        assert await status_of(call) == (grpc.StatusCode.PERMISSION_DENIED, "the node is not of this identity")


WORKLOAD = """apiVersion: v1
kind: Service
metadata: {name: web, namespace: default}
spec: {selector: {app: web}, ports: [{name: http, port: 80}]}
---
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {name: web-1, namespace: default}
spec: {address: 10.0.0.1, serviceAccount: client, labels: {app: web, security.istio.io/tlsMode: istio}}
"""
WEB = "outbound|80||web.default.svc.cluster.local"


def mutual(answer: DeltaDiscoveryResponse) -> bool:
    """Return whether the one endpoint of ``answer`` is to be spoken to by mutual TLS."""
    [resource] = answer.resources
    [locality] = ClusterLoadAssignment.FromString(resource.resource.value).endpoints
    [endpoint] = locality.lb_endpoints
    return "tlsMode" in endpoint.metadata.filter_metadata["envoy.transport_socket_match"]


class Watching:
    """Somebody who is sent the endpoints of the service."""

    def __init__(self, call: DeltaCall) -> None:
        self._call = call

    async def says_mutual(self) -> bool:
        """Return what the next answer says."""
        answer = await next_delta(self._call)
        await self._call.write(asking(EDS, nonce=answer.nonce))
        return mutual(answer)


@contextlib.asynccontextmanager
async def watched(folder: Path) -> AsyncIterator[tuple[Secure, Watching]]:
    """Yield a control plane that serves the workload, and a proxy with an identity that calls it."""
    (folder / "manifests").mkdir()
    (folder / "manifests" / "web.yaml").write_text(WORKLOAD)
    other = node(account="other") | {"id": "sidecar~10.0.0.2~other.default~default.svc.cluster.local"}
    async with secure(folder / "manifests") as plane:
        assert plane.running.at.xds_tls
        async with stream(plane.running.at.xds_tls, by_tls(plane), token=plane.token(account="other")) as call:
            await call.write(asking(EDS, other, WEB))
            yield plane, Watching(call)


async def test_a_proxy_in_the_clear_is_spoken_to_in_plaintext_and_that_is_said(tmp_path: Path) -> None:
    async with watched(tmp_path) as (plane, watching):
        before = await watching.says_mutual()
        async with delta(plane.running.at.xds) as call:
            await call.write(asking(SDS, node(), "default", "ROOTCA"))
            missing, took = await next_delta(call, at_most(1.0)), [1.0]
            while min(took) >= 0.1 and len(took) < 10:  # whatever else this machine does meanwhile
                began = time.perf_counter()
                await call.write(asking(SDS, None, f"kubernetes://secret-{len(took)}", nonce=missing.nonce if len(took) == 1 else ""))
                assert (await next_delta(call, at_most(1.0))).removed_resources
                took.append(time.perf_counter() - began)
            during = await watching.says_mutual()
            await call.write(asking(LDS))
            await call.write(asking(CDS))
            sent = [await next_delta(call) for _ in range(2)]
            rows = await plane.running.json("/v1/proxies")
            problems = await plane.running.json("/v1/problems")

    print(f"a secret that is not given is told after {min(took) * 1000:.1f} ms")
    assert (before, during) == (True, False)
    assert (sorted(missing.removed_resources), min(took) < within(0.1)) == (["ROOTCA", "default"], True)
    assert not any(b"ROOTCA" in each.SerializeToString() for each in sent)
    assert isinstance(rows, list)
    found = {each["id"].split("~")[1]: each["identity"] for each in rows}
    assert found == {"10.0.0.1": None, "10.0.0.2": "spiffe://cluster.local/ns/default/sa/other"}
    assert isinstance(problems, list)
    assert [(each["object"], each["code"], each["field"]) for each in problems] == [
        ("WorkloadEntry/default/web-1", "NoIdentity", "spec.labels")
    ]


async def test_who_claims_the_address_of_a_proxy_with_an_identity_brings_nothing_about(tmp_path: Path) -> None:
    async with watched(tmp_path) as (plane, watching):
        assert await watching.says_mutual()
        async with delta(plane.running.at.xds) as call:
            await call.write(asking(CDS, node()))
            assert not await watching.says_mutual()
        assert plane.running.at.xds_tls
        async with stream(plane.running.at.xds_tls, by_tls(plane), token=plane.token()) as known:
            await known.write(asking(CDS, node()))
            assert await watching.says_mutual()
            async with delta(plane.running.at.xds) as claiming:
                await claiming.write(asking(CDS, node()))
                await next_delta(claiming)

                assert await plane.running.json("/v1/problems") == []
