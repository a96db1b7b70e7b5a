"""Keys of certificates that users bring: those that Envoy does not serve with are refused before it is sent them."""

from __future__ import annotations

import datetime as dt

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa

from controlplane.ca.certificates import BadCertificate
from controlplane.ca.user_credentials import certificate_and_key

NOW = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey | dsa.DSAPrivateKey


def entries(key: PrivateKey) -> dict[str, bytes]:
    """Return a certificate for ``key``, signed by itself, and the key."""
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "a.example")])
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, NOW - dt.timedelta(days=1), NOW + dt.timedelta(days=1))
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
