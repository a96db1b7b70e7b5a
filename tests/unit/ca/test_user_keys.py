"""Keys of certificates that users bring: those that Envoy does not serve with are refused before it is sent them."""

from __future__ import annotations

import base64
import datetime as dt

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa

from controlplane.ca.certificates import BadCertificate
from controlplane.ca.user_credentials import certificate_and_key, trusted_authorities

NOW = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey | dsa.DSAPrivateKey


def entries(key: PrivateKey, *extensions: x509.ExtensionType) -> dict[str, bytes]:
    """Return a certificate for ``key``, signed by itself, and the key."""
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "a.example")])
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, NOW - dt.timedelta(days=1), NOW + dt.timedelta(days=1))
    for extension in extensions:
        builder = builder.add_extension(extension, critical=True)
    signs_whole = isinstance(key, ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey)
    certificate = builder.sign(key, None if signs_whole else hashes.SHA256())
    pem = serialization.Encoding.PEM
    written = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return {"crt": certificate.public_bytes(pem), "key": written}


@pytest.mark.parametrize(
    "key",
    [rsa.generate_private_key(65537, 2048), ec.generate_private_key(ec.SECP384R1()), ed25519.Ed25519PrivateKey.generate()],
    ids=["rsa-2048", "p-384", "ed25519"],
)
def test_a_key_that_envoy_takes_is_taken(key: PrivateKey) -> None:
    written = entries(key)

    assert certificate_and_key(written, (("crt",), ("key",)), NOW) == (written["crt"], written["key"])


@pytest.mark.parametrize(
    ("key", "words"),
    [
        (rsa.generate_private_key(65537, 1024), "its RSA key has 1024 bits"),
        (ec.generate_private_key(ec.SECP256K1()), "on the curve secp256k1"),
        (ec.generate_private_key(ec.SECP224R1()), "on the curve secp224r1"),
        (ed448.Ed448PrivateKey.generate(), "neither RSA nor on an elliptic curve"),
        (dsa.generate_private_key(2048), "neither RSA nor on an elliptic curve"),
    ],
    ids=["rsa-1024", "secp256k1", "p-224", "ed448", "dsa"],
)
def test_one_that_envoy_does_not_take_is_refused_with_the_reason(key: PrivateKey, words: str) -> None:
    with pytest.raises(BadCertificate, match=words):
        certificate_and_key(entries(key), (("crt",), ("key",)), NOW)


def usage(*, signs: bool) -> x509.KeyUsage:
    """Return what servers with RSA keys have, whose clients encrypt to them; and for all others that they sign."""
    return x509.KeyUsage(
        digital_signature=signs,
        content_commitment=False,
        key_encipherment=True,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )


def test_a_key_on_a_curve_has_to_be_one_that_signs() -> None:
    curve, other = ec.generate_private_key(ec.SECP256R1()), rsa.generate_private_key(65537, 2048)

    for written in (entries(curve, usage(signs=True)), entries(other, usage(signs=False))):
        assert certificate_and_key(written, (("crt",), ("key",)), NOW)
    with pytest.raises(BadCertificate, match="without digitalSignature"):
        certificate_and_key(entries(curve, usage(signs=False)), (("crt",), ("key",)), NOW)


@pytest.mark.parametrize("place", ["crt", "chain"])
def test_a_certificate_of_a_version_that_there_is_not_is_refused_like_any_that_cannot_be_read(place: str) -> None:
    good = entries(ec.generate_private_key(ec.SECP256R1()))
    bad = of_version_2(good["crt"])
    written = {**good, "crt": bad if place == "crt" else good["crt"] + bad}

    with pytest.raises(BadCertificate, match="expected certificates in PEM"):
        certificate_and_key(written, (("crt",), ("key",)), NOW)


def test_an_authority_of_a_version_that_there_is_not_leaves_the_others_trusted() -> None:
    good = entries(ec.generate_private_key(ec.SECP256R1()))["crt"]

    found = trusted_authorities({"ca": of_version_2(good) + good}, (("ca",), ("crl",)), NOW)

    assert found.certificates == good
    assert [fault.partition(",")[0] for fault in found.faults] == ["ca: certificate 1"]


def of_version_2(pem: bytes) -> bytes:
    """Return the certificate ``pem`` as one of version 2, which nobody issues."""
    der = x509.load_pem_x509_certificate(pem).public_bytes(serialization.Encoding.DER)
    changed = der.replace(bytes.fromhex("a003020102"), bytes.fromhex("a003020101"), 1)
    return b"-----BEGIN CERTIFICATE-----\n" + base64.encodebytes(changed) + b"-----END CERTIFICATE-----\n"
