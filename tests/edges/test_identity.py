"""Who comes in, and what of the secrets they get: by gRPC clients over real TLS."""

from __future__ import annotations

import datetime as dt
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest
import pytest_asyncio
from cryptography import x509
from envoy.extensions.transport_sockets.tls.v3.secret_pb2 import Secret

from controlplane.envoy.type_urls import CDS, SDS
from tests.edges.control_plane import delta, next_delta, status_of
from tests.edges.secure import Secure, asking, node, secure, stream


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
        answer = await next_delta(call, 1.0)

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
async def test_t21_a_node_of_somebody_else_is_refused(plane: Secure, who: dict[str, object]) -> None:
    assert plane.running.at.xds_tls
    async with stream(plane.running.at.xds_tls, by_tls(plane), token=plane.token()) as call:
        await call.write(asking(CDS, who))

        assert await status_of(call) == (grpc.StatusCode.PERMISSION_DENIED, "the node is not of this identity")
