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
from hypothesis import given
from hypothesis import strategies as st

from controlplane.ca import certificates
from controlplane.ca.certificates import BadCertificate, authority, check_leaf, read_certificates, workload_certificate
from controlplane.ca.csr import BadSigningRequest, public_key_of
from controlplane.model.identity import Identity
from controlplane.model.telemetry.workloads import workload_names
from tests.support import der
from tests.support.proofs import sampled

NOW = dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC)
YEAR = dt.timedelta(days=365)
HOUR = dt.timedelta(hours=1)
WHO = Identity("cluster.local", "shop", "cart")
KEY = ec.generate_private_key(ec.SECP256R1())
ROOT = authority("root", ec.generate_private_key(ec.SECP256R1()), NOW, YEAR)

_OTHERS = ("spiffe://cluster.local/ns/a/sa/admin", "https://x", "spiffe://cluster.local/ns/a/sa/admin,spiffe://x", "urn:a")
names = st.one_of(
    st.builds(x509.DNSName, st.sampled_from(("a.example", "spiffe://cluster.local/ns/a/sa/admin", "*"))),
    st.builds(x509.UniformResourceIdentifier, st.sampled_from(_OTHERS)),
    st.builds(x509.RFC822Name, st.just("admin@example.com")),
    st.builds(x509.IPAddress, st.ip_addresses()),
    st.builds(x509.RegisteredID, st.just(x509.ObjectIdentifier("1.2.3"))),
    st.builds(x509.OtherName, st.just(x509.ObjectIdentifier("1.3.6.1.4.1.311.20.2.3")), st.just(b"\x0c\x05admin")),
    st.builds(x509.DirectoryName, st.just(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "admin")]))),
)


def pem(builder: x509.CertificateSigningRequestBuilder, key: ec.EllipticCurvePrivateKey = KEY) -> bytes:
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def request() -> x509.CertificateSigningRequestBuilder:
    return x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))


def made(csr: bytes, lifetime: dt.timedelta = HOUR) -> x509.Certificate:
    return read_certificates(workload_certificate(ROOT, WHO, public_key_of(csr), NOW, lifetime))[0]


def check(found: x509.Certificate) -> None:
    of = found.extensions.get_extension_for_class
    usage = of(x509.KeyUsage).value
    assert list(of(x509.SubjectAlternativeName).value) == [x509.UniformResourceIdentifier(WHO.uri)]
    assert (of(x509.BasicConstraints).value.ca, usage.key_cert_sign, usage.crl_sign) == (False, False, False)
    assert set(of(x509.ExtendedKeyUsage).value) == {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH}
    assert list(found.subject) == []
    assert len(list(found.extensions)) == 5
    found.verify_directly_issued_by(ROOT.certificate)


@sampled(80)
@given(
    st.lists(names, max_size=50),
    st.sampled_from((None, (False, None), (True, None), (True, 0), (True, 99))),
    st.text(st.characters(codec="ascii", exclude_characters="\0"), min_size=1, max_size=30),
)
def test_t1_t2_what_a_request_says_of_names_and_rights_is_not_believed(
    asked: list[x509.GeneralName], constraints: tuple[bool, int | None] | None, common_name: str
) -> None:
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)]))
    if constraints:
        builder = builder.add_extension(x509.BasicConstraints(*constraints), critical=True)
        builder = builder.add_extension(_everything(), critical=True)
        builder = builder.add_extension(x509.NameConstraints([x509.DNSName("example")], None), critical=True)
    if asked:
        builder = builder.add_extension(x509.SubjectAlternativeName(asked), critical=False)

    check(made(pem(builder)))


def _everything() -> x509.KeyUsage:
    return x509.KeyUsage(*(True for _ in range(9)))


def test_t1_extensions_that_come_twice_are_not_believed_either() -> None:
    other = x509.SubjectAlternativeName([x509.UniformResourceIdentifier("spiffe://cluster.local/ns/a/sa/admin")])
    own = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(WHO.uri)])
    authority_s = x509.BasicConstraints(ca=True, path_length=None)

    check(made(der.request(KEY, [own, other, authority_s, authority_s])))


def test_t1_a_request_of_a_megabyte_of_names_is_not_looked_at() -> None:
    many = x509.SubjectAlternativeName([x509.DNSName(f"name-{number}.example") for number in range(5000)])

    with pytest.raises(BadSigningRequest, match="at most 36500 bytes"):
        public_key_of(der.request(KEY, [many]))


_SAYING_MORE: dict[str, x509.ExtensionType] = {
    "name constraints": x509.NameConstraints([x509.DNSName("example")], None),
    "a policy": x509.InhibitAnyPolicy(0),
    "something unknown": x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"x"),
}


@pytest.mark.parametrize("more", _SAYING_MORE)
def test_t2_a_signer_that_adds_an_extension_is_caught_before_anything_leaves(monkeypatch: pytest.MonkeyPatch, more: str) -> None:
    real = certificates._issued_by
    monkeypatch.setattr(
        certificates,
        "_issued_by",
        lambda issuer, builder: real(issuer, builder).add_extension(_SAYING_MORE[more], critical=False),
    )

    with pytest.raises(BadCertificate, match="more than it should"):
        workload_certificate(ROOT, WHO, KEY.public_key(), NOW, HOUR)


def test_a_certificate_may_say_the_names_of_a_workload_and_has_one_uri_all_the_same() -> None:
    names = workload_names("cart-v1", "shop", {"app": "cart", "version": "v1", "evil": "CN=a/b"})

    [found] = read_certificates(workload_certificate(ROOT, WHO, KEY.public_key(), NOW, HOUR, names))

    assert found.subject.rfc4514_string() == "UID=navarch/cart-v1/shop/cart/v1/cart/v1/Kubernetes"
    said = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert list(said) == [x509.UniformResourceIdentifier(WHO.uri)]


def test_t2_a_signer_that_errs_is_caught_before_anything_leaves(monkeypatch: pytest.MonkeyPatch) -> None:
    usage, builder, end = certificates._usage, certificates._builder, certificates.valid_until
    other = ec.generate_private_key(ec.SECP256R1()).public_key()
    wrong: dict[str, Callable[..., object]] = {
        "_usage": lambda *, signs_certificates: usage(signs_certificates=not signs_certificates),
        "_builder": lambda subject, issuer, _, now, until: builder(subject, issuer, other, now, until),
        "valid_until": lambda now, lifetime, issuer: end(now, lifetime, issuer) + 2 * YEAR,
    }

    for name, replacement in wrong.items():
        with monkeypatch.context() as patch:
            patch.setattr(certificates, name, replacement)
            with pytest.raises(BadCertificate, match="more than it should"):
                workload_certificate(ROOT, WHO, KEY.public_key(), NOW, HOUR)


@pytest.mark.parametrize(
    "said",
    [
        (x509.UniformResourceIdentifier(WHO.uri), x509.UniformResourceIdentifier("spiffe://cluster.local/ns/a/sa/admin")),
        (x509.UniformResourceIdentifier(WHO.uri), x509.DNSName("a.example")),
        (x509.DNSName(WHO.uri),),
    ],
)
def test_t2_t3_a_signer_that_says_somebody_else_is_caught_before_anything_leaves(said: tuple[x509.GeneralName, ...]) -> None:
    purposes = (ExtendedKeyUsageOID.SERVER_AUTH,)
    wrong = certificates._leaf(ROOT, x509.Name([]), said, KEY.public_key(), (NOW, NOW + HOUR), *purposes)

    with pytest.raises(BadCertificate, match="more than it should"):
        check_leaf(wrong, ROOT, KEY.public_key(), (x509.UniformResourceIdentifier(WHO.uri),))


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

    with pytest.raises(BadSigningRequest, match="expected a key of"):
        public_key_of(csr)


@pytest.mark.parametrize("bits", [4104, 16_384])
def test_t6_keys_that_are_costly_to_check_are_refused_unchecked(bits: int) -> None:
    costly = rsa.RSAPublicNumbers(65537, (1 << bits) - 1 - (1 << (bits // 2))).public_key()

    with pytest.raises(BadSigningRequest, match=r"^expected a key of|^expected a certificate signing request"):
        public_key_of(der.request(KEY, [], costly))


def test_a_request_of_a_version_that_there_is_not_is_refused_like_any_that_cannot_be_read() -> None:
    with pytest.raises(BadSigningRequest, match="expected a certificate signing request in PEM"):
        public_key_of(der.request(KEY, [], version=2))


def test_t6_a_key_that_encrypts_nothing_is_refused() -> None:
    one = der.rsa_key(rsa.generate_private_key(65537, 2048).public_key().public_numbers().n, 1)

    with pytest.raises(BadSigningRequest, match=r"^expected a key of|^expected a certificate signing request"):
        public_key_of(der.request(KEY, [], one))


def test_strong_keys_are_taken() -> None:
    for key, digest in (
        (ec.generate_private_key(ec.SECP384R1()), hashes.SHA384()),
        (rsa.generate_private_key(65537, 2048), hashes.SHA256()),
        (ed25519.Ed25519PrivateKey.generate(), None),
    ):
        check(made(request().sign(key, digest).public_bytes(serialization.Encoding.PEM)))


@sampled(200)
@given(st.binary(max_size=2000), st.integers(0, 400))
def test_t7_noise_is_refused_with_words(noise: bytes, at: int) -> None:
    good = pem(request())
    for csr in (noise, good[:at] + noise[:5] + good[at + 5 :], b"-----BEGIN CERTIFICATE REQUEST-----\n" + noise):
        with contextlib.suppress(BadSigningRequest):  # and nothing else
            public_key_of(csr)
    with pytest.raises(BadSigningRequest, match=r"^expected "):
        public_key_of(noise)


def test_t7_what_is_too_long_is_not_looked_at() -> None:
    with pytest.raises(BadSigningRequest, match="at most 36500 bytes"):
        public_key_of(b"x" * 10_000_000)


def test_t8_a_request_that_is_not_signed_by_its_own_key_is_refused() -> None:
    der = bytearray(request().sign(KEY, hashes.SHA256()).public_bytes(serialization.Encoding.DER))
    der[-1] ^= 1
    body = base64.encodebytes(bytes(der)).decode()
    csr = f"-----BEGIN CERTIFICATE REQUEST-----\n{body}-----END CERTIFICATE REQUEST-----\n".encode()

    with pytest.raises(BadSigningRequest, match="signed by its own key"):
        public_key_of(csr)


@sampled(100)
@given(st.integers(1, 2**31))
def test_t9_nothing_outlives_who_signed_it(seconds: int) -> None:
    found = made(pem(request()), dt.timedelta(seconds=seconds))

    assert found.not_valid_after_utc <= ROOT.certificate.not_valid_after_utc
    assert found.not_valid_before_utc == NOW - dt.timedelta(minutes=2)


def test_t9_nothing_is_signed_by_who_has_expired() -> None:
    with pytest.raises(BadCertificate, match="expired"):
        workload_certificate(ROOT, WHO, KEY.public_key(), NOW + 2 * YEAR, HOUR)


def test_t18_each_certificate_leads_to_its_own_root() -> None:
    roots = [authority(f"root {number}", ec.generate_private_key(ec.SECP256R1()), NOW, YEAR) for number in range(2)]
    for turn in range(1000):
        who = Identity(f"td{turn % 2}", "a", "b")
        found = read_certificates(workload_certificate(roots[turn % 2], who, KEY.public_key(), NOW, HOUR))[0]
        found.verify_directly_issued_by(roots[turn % 2].certificate)
        with pytest.raises((InvalidSignature, ValueError)):
            found.verify_directly_issued_by(roots[1 - turn % 2].certificate)


def test_an_intermediate_goes_out_with_what_it_signs() -> None:
    below = authority("intermediate", ec.generate_private_key(ec.SECP256R1()), NOW, YEAR, ROOT)

    leaf, between = read_certificates(workload_certificate(below, WHO, KEY.public_key(), NOW, HOUR))

    leaf.verify_directly_issued_by(between)
    between.verify_directly_issued_by(ROOT.certificate)


def test_keys_are_not_shown() -> None:
    assert "PrivateKey" not in repr(ROOT)
