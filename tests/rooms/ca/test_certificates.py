"""Whatever is asked, a certificate says who somebody is, and nothing else."""

from __future__ import annotations

import base64
import contextlib
import datetime as dt
from collections.abc import Callable

import pytest
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from hypothesis import given, settings
from hypothesis import strategies as st

from controlplane.ca import certificates
from controlplane.ca.certificates import BadCertificate, authority, read_certificates, workload
from controlplane.ca.requests import BadRequest, public_key_of
from controlplane.model.identity import Identity

NOW = dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC)
YEAR = dt.timedelta(days=365)
HOUR = dt.timedelta(hours=1)
WHO = Identity("cluster.local", "shop", "cart")
KEY = ec.generate_private_key(ec.SECP256R1())
ROOT = authority("root", ec.generate_private_key(ec.SECP256R1()), NOW, YEAR)

names = st.one_of(
    st.builds(x509.DNSName, st.sampled_from(("a.example", "spiffe://cluster.local/ns/a/sa/admin", "*"))),
    st.builds(x509.UniformResourceIdentifier, st.sampled_from(("spiffe://cluster.local/ns/a/sa/admin", "https://x"))),
    st.builds(x509.RFC822Name, st.just("admin@example.com")),
)


def pem(builder: x509.CertificateSigningRequestBuilder, key: ec.EllipticCurvePrivateKey = KEY) -> bytes:
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def request() -> x509.CertificateSigningRequestBuilder:
    return x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))


def made(csr: bytes, lifetime: dt.timedelta = HOUR) -> x509.Certificate:
    return read_certificates(workload(ROOT, WHO, public_key_of(csr), NOW, lifetime))[0]


def check(found: x509.Certificate) -> None:
    of = found.extensions.get_extension_for_class
    usage = of(x509.KeyUsage).value
    assert list(of(x509.SubjectAlternativeName).value) == [x509.UniformResourceIdentifier(WHO.uri)]
    assert (of(x509.BasicConstraints).value.ca, usage.key_cert_sign, usage.crl_sign) == (False, False, False)
    assert set(of(x509.ExtendedKeyUsage).value) == {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH}
    assert list(found.subject) == []
    assert len(list(found.extensions)) == 5
    found.verify_directly_issued_by(ROOT.certificate)


@settings(max_examples=60, derandomize=True, database=None)
@given(st.lists(names, max_size=50), st.booleans(), st.text(st.characters(codec="ascii", exclude_characters="\0"), min_size=1, max_size=30))
def test_t1_t2_what_a_request_says_of_names_and_rights_is_not_believed(
    asked: list[x509.GeneralName],
    is_ca: bool,  # noqa: FBT001 - Hypothesis gives it by position
    common_name: str,
) -> None:
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)]))
    builder = builder.add_extension(x509.BasicConstraints(ca=is_ca, path_length=9 if is_ca else None), critical=True)
    if asked:
        builder = builder.add_extension(x509.SubjectAlternativeName(asked), critical=False)

    check(made(pem(builder)))


def test_t2_a_signer_that_says_more_than_it_should_is_caught_before_anything_leaves(monkeypatch: pytest.MonkeyPatch) -> None:
    real = certificates._usage
    monkeypatch.setattr(certificates, "_usage", lambda *, signs_certificates: real(signs_certificates=not signs_certificates))

    with pytest.raises(BadCertificate, match="more than it should"):
        workload(ROOT, WHO, KEY.public_key(), NOW, HOUR)


WEAK: dict[str, Callable[[], rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | dsa.DSAPrivateKey]] = {
    "RSA of 1024 bits": lambda: rsa.generate_private_key(65537, 1024),
    "RSA with the exponent 3": lambda: rsa.generate_private_key(3, 2048),
    "P-192": lambda: ec.generate_private_key(ec.SECP192R1()),
    "P-224": lambda: ec.generate_private_key(ec.SECP224R1()),
    "a curve of others": lambda: ec.generate_private_key(ec.SECP256K1()),
    "DSA": lambda: dsa.generate_private_key(2048),
}


@pytest.mark.parametrize("weak", WEAK)
def test_t6_weak_keys_are_refused(weak: str) -> None:
    csr = request().sign(WEAK[weak](), hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    with pytest.raises(BadRequest, match="expected a key of"):
        public_key_of(csr)


def test_strong_keys_are_taken() -> None:
    for key, digest in (
        (ec.generate_private_key(ec.SECP384R1()), hashes.SHA384()),
        (rsa.generate_private_key(65537, 2048), hashes.SHA256()),
        (ed25519.Ed25519PrivateKey.generate(), None),
    ):
        check(made(request().sign(key, digest).public_bytes(serialization.Encoding.PEM)))


@settings(max_examples=200, derandomize=True, database=None)
@given(st.binary(max_size=2000), st.integers(0, 400))
def test_t7_noise_is_refused_with_words(noise: bytes, at: int) -> None:
    good = pem(request())
    for csr in (noise, good[:at] + noise[:5] + good[at + 5 :], b"-----BEGIN CERTIFICATE REQUEST-----\n" + noise):
        with contextlib.suppress(BadRequest):  # and nothing else
            public_key_of(csr)
    with pytest.raises(BadRequest, match=r"^expected "):
        public_key_of(noise)


def test_t7_what_is_too_long_is_not_looked_at() -> None:
    with pytest.raises(BadRequest, match="at most 36500 bytes"):
        public_key_of(b"x" * 10_000_000)


def test_t8_a_request_that_is_not_signed_by_its_own_key_is_refused() -> None:
    der = bytearray(request().sign(KEY, hashes.SHA256()).public_bytes(serialization.Encoding.DER))
    der[-1] ^= 1
    body = base64.encodebytes(bytes(der)).decode()
    csr = f"-----BEGIN CERTIFICATE REQUEST-----\n{body}-----END CERTIFICATE REQUEST-----\n".encode()

    with pytest.raises(BadRequest, match="signed by its own key"):
        public_key_of(csr)


@settings(max_examples=100, derandomize=True, database=None)
@given(st.integers(1, 2**31))
def test_t9_nothing_outlives_who_signed_it(seconds: int) -> None:
    found = made(pem(request()), dt.timedelta(seconds=seconds))

    assert found.not_valid_after_utc <= ROOT.certificate.not_valid_after_utc
    assert found.not_valid_before_utc == NOW - dt.timedelta(minutes=2)


def test_t9_nothing_is_signed_by_who_has_expired() -> None:
    with pytest.raises(BadCertificate, match="expired"):
        workload(ROOT, WHO, KEY.public_key(), NOW + 2 * YEAR, HOUR)


def test_t18_each_certificate_leads_to_its_own_root() -> None:
    roots = [authority(f"root {number}", ec.generate_private_key(ec.SECP256R1()), NOW, YEAR) for number in range(2)]
    for turn in range(100):
        who = Identity(f"td{turn % 2}", "a", "b")
        found = read_certificates(workload(roots[turn % 2], who, KEY.public_key(), NOW, HOUR))[0]
        found.verify_directly_issued_by(roots[turn % 2].certificate)
        with pytest.raises((InvalidSignature, ValueError)):
            found.verify_directly_issued_by(roots[1 - turn % 2].certificate)


def test_an_intermediate_goes_out_with_what_it_signs() -> None:
    below = authority("intermediate", ec.generate_private_key(ec.SECP256R1()), NOW, YEAR, ROOT)

    leaf, between = read_certificates(workload(below, WHO, KEY.public_key(), NOW, HOUR))

    leaf.verify_directly_issued_by(between)
    between.verify_directly_issued_by(ROOT.certificate)


def test_keys_are_not_shown() -> None:
    assert "PrivateKey" not in repr(ROOT)
