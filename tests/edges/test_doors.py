"""Every call of every service, by every address, with every wrong credential: nobody is let in for want of a reason not to."""

from __future__ import annotations

import datetime as dt
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import grpc.aio
import pytest
import pytest_asyncio
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from envoy.extensions.transport_sockets.tls.v3.secret_pb2 import Secret

from controlplane.ca.certificates import key_pem, workload_certificate
from controlplane.envoy.type_urls import CDS, SDS
from controlplane.serve.authn import authenticators
from controlplane.serve.authn.tokens import LocalTokens
from controlplane.serve.csr.service import SERVICE
from tests.support.control_plane import ADS, NODE, next_delta, status_of
from tests.support.grpc_methods import ending, methods
from tests.support.secure_control_plane import Secure, asking, node, secure, stream
from tests.support.waiting import at_most
from tests.support.wrong_certificates import CERTIFICATES, HOUR, WHO, signer, uri

DELTA = f"{ADS}/DeltaAggregatedResources"
UNAUTHENTICATED = (grpc.StatusCode.UNAUTHENTICATED, "unauthenticated")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def plane(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Secure]:
    folder = tmp_path_factory.mktemp("doors") / "manifests"
    folder.mkdir()
    async with secure(folder) as found:
        yield found


pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.mark.parametrize("method", list(methods()))
async def test_t20_no_method_takes_anybody_without_a_token(plane: Secure, method: str) -> None:
    assert plane.running.at.xds_tls
    for token in (None, "garbage", plane.token(audience="other")):
        async with stream(plane.running.at.xds_tls, grpc.ssl_channel_credentials(plane.roots), token=token, method=method) as call:
            assert await ending(call, method) == UNAUTHENTICATED


@pytest.mark.parametrize("wrong", CERTIFICATES)
async def test_t3_t4_s23_no_method_takes_a_certificate_that_is_not_exactly_right(plane: Secure, wrong: str) -> None:
    key, chain = CERTIFICATES[wrong](plane)
    assert plane.running.at.xds_mtls
    for method in methods():
        credentials = grpc.ssl_channel_credentials(plane.roots, key, chain)
        async with stream(plane.running.at.xds_mtls, credentials, method=method, token=plane.token()) as call:
            code, words = await ending(call, method)
            handshake = (code is grpc.StatusCode.UNAVAILABLE and "ssl" in words.lower()) or "handshak" in words.lower() or "Socket" in words
            assert (code, words) == UNAUTHENTICATED or handshake, (method, code, words)


async def test_t20_without_any_certificate_the_address_that_asks_for_one_is_closed(plane: Secure) -> None:
    assert plane.running.at.xds_mtls
    async with stream(plane.running.at.xds_mtls, grpc.ssl_channel_credentials(plane.roots), token=plane.token()) as call:
        assert (await status_of(call))[0] is grpc.StatusCode.UNAVAILABLE


async def test_in_the_clear_nothing_is_signed(plane: Secure) -> None:
    async with grpc.aio.insecure_channel(plane.running.at.xds) as channel:
        method: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(f"/{SERVICE}/CreateCertificate")
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await method(b"")
    assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED


@pytest.mark.parametrize("answer", [RuntimeError("a bug"), None, "", ValueError()], ids=["raises", "None", "empty", "ValueError"])
async def test_t15_an_authenticator_that_fails_lets_nobody_in(plane: Secure, monkeypatch: pytest.MonkeyPatch, answer: object) -> None:
    async def subject(*_: object) -> object:
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(LocalTokens, "subject", subject)
    assert plane.running.at.xds_tls
    for method in (DELTA, f"/{SERVICE}/CreateCertificate"):
        async with stream(plane.running.at.xds_tls, grpc.ssl_channel_credentials(plane.roots), token="t", method=method) as call:
            assert await ending(call, method) == UNAUTHENTICATED


async def test_t14_s28_where_tokens_cannot_be_checked_certificates_are_still_believed(
    plane: Secure, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def subject(*_: object) -> object:
        raise authenticators.AuthenticationUnavailable("the API server is away")

    monkeypatch.setattr(LocalTokens, "subject", subject)
    at, roots = plane.running.at, plane.roots
    assert at.xds_tls
    assert at.xds_mtls
    async with stream(at.xds_tls, grpc.ssl_channel_credentials(roots), token="t") as call:
        assert (await status_of(call))[0] is grpc.StatusCode.UNAVAILABLE
    key = ec.generate_private_key(ec.SECP256R1())
    chain = workload_certificate(signer(plane), WHO, key.public_key(), dt.datetime.now(dt.UTC), HOUR)
    async with stream(at.xds_mtls, grpc.ssl_channel_credentials(roots, key_pem(key), chain)) as call:
        await call.write(asking(SDS, node(), "default"))
        assert len((await next_delta(call)).resources) == 1


async def test_t22_s25_a_secret_of_others_is_not_there_whoever_asked_before(plane: Secure) -> None:
    assert plane.running.at.xds_tls
    credentials = grpc.ssl_channel_credentials(plane.roots)
    names = ("default", "kubernetes://other-secret", "kubernetes-gateway://other/secret", "file-cert:/etc/x~/etc/y")
    keys = set()
    for account in ("one", "two", "one", "two"):
        async with stream(plane.running.at.xds_tls, credentials, token=plane.token(account=account)) as call:
            await call.write(asking(SDS, node(account=account), *names))
            answer = await next_delta(call)
            [own] = answer.resources
            keys.add((account, Secret.FromString(own.resource.value).tls_certificate.private_key.inline_bytes))
            assert set(answer.removed_resources) == set(names) - {"default"}
    assert len(keys) == 2  # each its own, and the same one again


async def test_t23_a_second_node_on_a_stream_changes_nothing(plane: Secure) -> None:
    assert plane.running.at.xds_tls
    async with stream(plane.running.at.xds_tls, grpc.ssl_channel_credentials(plane.roots), token=plane.token()) as call:
        await call.write(asking(SDS, node(), "default"))
        first = await next_delta(call)
        await call.write(asking(SDS, node(namespace="other", account="admin"), nonce=first.nonce))
        await call.write(asking(SDS, node(namespace="other", account="admin"), "ROOTCA"))
        assert [each.name for each in (await next_delta(call)).resources] == ["ROOTCA"]

    said = Secret.FromString(first.resources[0].resource.value).tls_certificate.certificate_chain.inline_bytes
    names = x509.load_pem_x509_certificate(said).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert list(names) == [uri(WHO.uri)]


async def test_t24_a_stream_that_does_not_say_who_it_is_ends_alone(plane: Secure) -> None:
    assert plane.running.at.xds_tls
    async with stream(plane.running.at.xds_tls, grpc.ssl_channel_credentials(plane.roots), token=plane.token()) as call:
        await call.write(asking(CDS))
        assert (await status_of(call))[0] is grpc.StatusCode.INVALID_ARGUMENT


TYPES_OF_OTHERS = ("istio.io/debug/syncz", "istio.io/debug/config_dump", "api", "type.googleapis.com/envoy.config.core.v3.Node", SERVICE)


@pytest.mark.parametrize("type_url", TYPES_OF_OTHERS)
async def test_t25_types_of_others_say_nothing(plane: Secure, type_url: str) -> None:
    assert plane.running.at.xds_tls
    async with stream(plane.running.at.xds_tls, grpc.ssl_channel_credentials(plane.roots), token=plane.token()) as call:
        await call.write(asking(type_url, node(), "*", NODE))
        await call.write(asking(SDS, None, "ROOTCA"))
        answers = [await next_delta(call, at_most(5))]
        while answers[-1].type_url != SDS:
            answers.append(await next_delta(call, at_most(5)))
    assert all(not each.resources for each in answers[:-1])
    assert [each.name for each in answers[-1].resources] == ["ROOTCA"]


async def test_t25_services_that_show_configurations_do_not_exist(plane: Secure) -> None:
    assert plane.running.at.xds_tls
    credentials = grpc.ssl_channel_credentials(plane.roots)
    for method in ("/envoy.service.status.v3.ClientStatusDiscoveryService/StreamClientStatus", "/grpc.reflection.v1.ServerReflection/A"):
        async with stream(plane.running.at.xds_tls, credentials, token=plane.token(), method=method) as call:
            assert (await ending(call, method))[0] is grpc.StatusCode.UNIMPLEMENTED


async def test_t26_a_request_for_a_million_names_costs_its_own_stream_alone(plane: Secure) -> None:
    assert plane.running.at.xds_tls
    credentials = grpc.ssl_channel_credentials(plane.roots)
    async with (
        stream(plane.running.at.xds_tls, credentials, token=plane.token()) as other,
        stream(plane.running.at.xds_tls, credentials, token=plane.token()) as call,
    ):
        await call.write(asking(SDS, node(), *(f"name-{number}" for number in range(1_000_000))))
        assert (await status_of(call))[0] is grpc.StatusCode.RESOURCE_EXHAUSTED

        await other.write(asking(SDS, node(), "default"))
        assert len((await next_delta(other)).resources) == 1


async def test_a_secret_is_renewed_alone_and_only_for_its_own_streams(tmp_path: Path) -> None:
    folder = tmp_path / "manifests"
    folder.mkdir()
    async with secure(folder, leaf_s=4) as plane:
        assert plane.running.at.xds_tls
        async with stream(plane.running.at.xds_tls, grpc.ssl_channel_credentials(plane.roots), token=plane.token()) as call:
            await call.write(asking(CDS, node()))
            clusters = await next_delta(call)
            await call.write(asking(CDS, nonce=clusters.nonce))
            await call.write(asking(SDS, None, "default", "ROOTCA"))
            first = await next_delta(call)
            before = plane.running.plane.refreshes
            await call.write(asking(SDS, nonce=first.nonce))

            renewed = await next_delta(call, at_most(10))

            assert (renewed.type_url, [each.name for each in renewed.resources]) == (SDS, ["default"])
            assert plane.running.plane.refreshes == before
