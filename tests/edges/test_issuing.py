"""Certificates for keys of other people's own: what is asked changes nothing in who they are for, and who asks without end waits alone."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import json
import sys
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

import grpc
import grpc.aio
import pytest
import pytest_asyncio
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import example, given
from hypothesis import strategies as st

from controlplane.ca.certificates import BadCertificate, authority, read_certificates
from controlplane.ca.csr import BadSigningRequest
from controlplane.ca.leaf_certificates import MAX_LIFETIME
from controlplane.ca.rotation import AuthorityState, initial_state, new_issuer
from controlplane.model.identity import Identity
from controlplane.serve.authn.authenticators import Caller, Unauthenticated
from controlplane.serve.csr.service import CertificateSigner, RateLimited
from controlplane.serve.istio_ca_pb2 import IstioCertificateRequest
from tests.support import der
from tests.support.csr_flood import asked, signing
from tests.support.proofs import sampled
from tests.support.secure_control_plane import Secure, secure
from tests.support.waiting import within

NOW = dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC)
YEAR = dt.timedelta(days=365)
WHO = Caller(Identity("cluster.local", "default", "client"))
KEY = ec.generate_private_key(ec.SECP256R1())
CSR = der.request(KEY, []).decode()
FLOOD_PER_S, FLOOD_S = 2000, 3


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def plane(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Secure]:
    folder = tmp_path_factory.mktemp("issuing") / "manifests"
    folder.mkdir()
    async with secure(folder) as found:
        yield found


@dataclass
class Fixed:
    """An authority that stays as it is."""

    state: AuthorityState

    def on_change(self, listener: Callable[[], None]) -> None:
        del listener


def issuing(monotonic: Callable[[], float] = lambda: 0.0, lifetime: dt.timedelta = YEAR) -> CertificateSigner:
    return CertificateSigner(Fixed(initial_state(new_issuer(KEY, NOW, lifetime))), lambda: NOW, MAX_LIFETIME, monotonic)


@contextlib.asynccontextmanager
async def channel(plane: Secure) -> AsyncIterator[grpc.aio.Channel]:
    assert plane.running.at.xds_tls
    credentials = grpc.ssl_channel_credentials(plane.roots)
    async with grpc.aio.secure_channel(plane.running.at.xds_tls, credentials, (("grpc.ssl_target_name_override", "localhost"),)) as opened:
        yield opened


def leaf(chain: list[str]) -> x509.Certificate:
    return read_certificates(chain[0].encode())[0]


@sampled(60)
@given(st.integers(-(2**63), 2**63 - 1) | st.integers(-10, 2**24))
@example(0)
@example(-1)
@example(-(2**63))
@example(2**63 - 1)
@example(10 * 365 * 86_400)
def test_t9_whatever_is_asked_nothing_is_good_for_longer_than_anybody_may_have_it(seconds: int) -> None:
    for life in (YEAR, dt.timedelta(hours=1)):
        signing = issuing(lifetime=life).sign(WHO, CSR, seconds)
        if not 0 <= seconds <= MAX_LIFETIME.total_seconds():
            with pytest.raises(BadSigningRequest, match="expected a validity of at most 7776000 seconds"):
                asyncio.run(signing)
            continue
        found = leaf(asyncio.run(signing))
        assert NOW < found.not_valid_after_utc <= NOW + min(MAX_LIFETIME, life)


def test_t9_an_authority_that_has_expired_signs_nothing() -> None:
    with pytest.raises(BadCertificate, match="expired"):
        asyncio.run(issuing(lifetime=dt.timedelta(0)).sign(WHO, CSR, 60))


def test_nobody_in_particular_gets_no_certificate() -> None:
    with pytest.raises(Unauthenticated):
        asyncio.run(issuing().sign(Caller(None), CSR, 60))


WRONG: dict[str, str] = {
    "10 MB": "-----BEGIN CERTIFICATE REQUEST-----\n" + "MIIB" * 2_500_000 + "\n-----END CERTIFICATE REQUEST-----\n",
    "nothing": "",
    "5,000 names": der.request(KEY, [x509.SubjectAlternativeName([x509.DNSName(f"{n}.example") for n in range(5000)])]).decode(),
    "a certificate": authority("a", KEY, NOW, YEAR).pem.decode(),
    "a weak key": der.request(KEY, [], rsa.generate_private_key(65537, 1024).public_key()).decode(),
    "a huge key": der.request(KEY, [], der.rsa_key((1 << 16_384) - 1, 65537)).decode(),
    "signed by another": der.request(KEY, [], ec.generate_private_key(ec.SECP256R1()).public_key()).decode(),
}


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("wrong", WRONG)
async def test_t7_s26_a_request_that_is_none_is_refused_at_once(plane: Secure, wrong: str) -> None:
    async with channel(plane) as opened:
        sign, token, took = signing(opened), plane.token(account=f"s26-{len(wrong)}"), [1.0]
        limit_s = 0.05 if wrong == "10 MB" else 0.1
        while min(took) >= limit_s and len(took) < 15:  # whatever else this machine does meanwhile
            began = time.perf_counter()
            assert await asked(sign, WRONG[wrong], token) is grpc.StatusCode.INVALID_ARGUMENT
            took.append(time.perf_counter() - began)

    print(f"{wrong}: {min(took) * 1000:.1f} ms")
    assert min(took) < within(limit_s)


@pytest.mark.asyncio(loop_scope="module")
async def test_t7_bytes_that_are_no_request_are_read_only_once_it_is_known_whose_they_are(plane: Secure) -> None:
    async with channel(plane) as opened:
        raw: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = opened.unary_unary("/istio.v1.auth.IstioCertificateService/CreateCertificate")
        ends = []
        for metadata in ((), (("authorization", f"Bearer {plane.token()}"),)):
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await raw(b"\x0a\xff\xff\xff", metadata=metadata)
            ends.append(refused.value.code())

    assert ends == [grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.INVALID_ARGUMENT]


@pytest.mark.asyncio(loop_scope="module")
async def test_t1_t13_s26_who_it_is_for_is_the_caller_whatever_the_request_and_its_metadata_say(plane: Secure) -> None:
    wanted = x509.SubjectAlternativeName([x509.UniformResourceIdentifier("spiffe://cluster.local/ns/default/sa/admin")])
    request = IstioCertificateRequest(csr=der.request(KEY, [wanted]).decode(), validity_duration=3600)
    request.metadata.update({"ImpersonatedIdentity": "spiffe://cluster.local/ns/default/sa/admin"})
    async with channel(plane) as opened:
        answer = await signing(opened)(request, metadata=(("authorization", f"Bearer {plane.token()}"),))

    names = leaf(list(answer.cert_chain)).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert list(names) == [x509.UniformResourceIdentifier("spiffe://cluster.local/ns/default/sa/client")]
    assert answer.cert_chain[-1].encode() == plane.roots


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("scheme", ["Bootstrap", "Basic", "bearer", "Bearer", "Token", ""])
async def test_t12_nothing_but_a_service_accounts_token_is_taken_and_a_token_of_one_use_does_not_exist(plane: Secure, scheme: str) -> None:
    shown = [("authorization", f"{scheme} one-time-secret".strip()), ("x-bootstrap-token", "one-time-secret")]
    async with channel(plane) as opened:
        sign, request = signing(opened), IstioCertificateRequest(csr=CSR)
        ends = await asyncio.gather(*(sign(request, metadata=tuple(shown)) for _ in range(50)), return_exceptions=True)

    assert {each.code() for each in ends if isinstance(each, grpc.aio.AioRpcError)} == {grpc.StatusCode.UNAUTHENTICATED}
    assert all(isinstance(each, grpc.aio.AioRpcError) for each in ends)


async def test_t17_who_asks_without_end_is_told_to_wait_and_the_others_are_not() -> None:
    at = [0.0]
    busy = issuing(lambda: at[0])
    other = Caller(Identity("cluster.local", "default", "other"))

    async def signed(caller: Caller) -> bool:
        try:
            await busy.sign(caller, CSR, 60)
        except RateLimited:
            return False
        return True

    assert [await signed(WHO) for _ in range(21)] == [True] * 20 + [False]
    assert await signed(other)
    assert await signed(Caller(WHO.who, pod="another"))  # of the same account
    at[0] += 0.06
    assert [await signed(WHO) for _ in range(2)] == [True, False]
    assert busy.answers == {"signed": 23, "limited": 2, "refused": 0, "failed": 0}


@pytest.mark.asyncio(loop_scope="module")
async def test_t17_s29_a_flood_of_one_client_does_not_cost_the_others_their_turn(plane: Secure, tmp_path: Path) -> None:
    assert plane.running.at.xds_tls
    (tmp_path / "root.pem").write_bytes(plane.roots)
    (tmp_path / "token").write_text(plane.token(account="flood"))
    (tmp_path / "csr.pem").write_text(CSR)
    command = (sys.executable, "-m", "tests.support.csr_flood", plane.running.at.xds_tls, str(tmp_path), str(FLOOD_PER_S), str(FLOOD_S))
    turns: list[tuple[float, float]] = []

    async with channel(plane) as opened:
        await others(plane, opened, "warm", 0.5)
        while not any(busy <= within(2) * calm for calm, busy in turns) and len(turns) < 3:  # whatever else this machine does meanwhile
            calm = await others(plane, opened, f"calm-{len(turns)}", 2.0)
            flood = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
            assert flood.stdout
            assert json.loads(await flood.stdout.readline()) in {"OK", "RESOURCE_EXHAUSTED"}
            turns.append((calm, await others(plane, opened, f"busy-{len(turns)}", 2.0)))
            found = json.loads(await flood.stdout.readline())
            assert await flood.wait() == 0
            print(f"others' p99 {turns[-1][0] * 1000:.1f} ms, in the flood {turns[-1][1] * 1000:.1f} ms; {found}")
            assert found["OK"] <= 20 + 20 * (FLOOD_S + 1)

    _, metrics = await plane.running.get("/metrics")
    [limited] = [line for line in metrics.splitlines() if line.startswith('navarch_csr_requests_total{answer="limited"}')]
    assert float(limited.split()[1]) >= found["RESOURCE_EXHAUSTED"] > 0
    assert any(busy <= within(2) * calm for calm, busy in turns)


async def others(plane: Secure, opened: grpc.aio.Channel, name: str, seconds: float) -> float:
    """Return the 99th percentile of how long ten clients wait for a certificate, each of which asks a few times a second."""
    sign, took = signing(opened), list[float]()
    ends = time.monotonic() + seconds

    async def one(token: str) -> None:
        while time.monotonic() < ends:
            began = time.perf_counter()
            assert await asked(sign, CSR, token) is grpc.StatusCode.OK
            took.append(time.perf_counter() - began)
            await asyncio.sleep(0.1)  # the pace of this client

    await asyncio.gather(*(one(plane.token(account=f"{name}-{number}")) for number in range(10)))
    return sorted(took)[int(len(took) * 0.99)]
