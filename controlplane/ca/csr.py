"""Certificate signing requests: what of them is believed, which is the public key alone, once the sender has proved to have the other half.

https://datatracker.ietf.org/doc/html/rfc2986
"""

from __future__ import annotations

from typing import TypeAlias

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa

from controlplane.errors import PeerError

MAX_BYTES = 36_500  # of the PEM: room for a key of 4096 bits and more names than anybody needs
PublicKey: TypeAlias = ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey | rsa.RSAPublicKey
# What is raised for a request, a certificate or a list that cannot be read; a version that there is not is no ValueError.
UNREADABLE = (ValueError, x509.InvalidVersion)
_CURVES = (ec.SECP256R1, ec.SECP384R1)
_RSA_BITS = range(2048, 4097)
_HASHES = ("sha256", "sha384", "sha512")


class BadSigningRequest(PeerError):
    """A request that is not signed; the text is for whoever sent it, and repeats nothing of it."""


def public_key_of(pem: bytes) -> PublicKey:
    """Return the public key that the request ``pem`` asks a certificate for.

    Names and extensions in it are ignored: who the certificate is for is known from elsewhere. Raises
    BadSigningRequest where the request cannot be read, is not signed by its own key, or the key is weak.
    """
    if len(pem) > MAX_BYTES:
        raise BadSigningRequest(f"expected a request of at most {MAX_BYTES} bytes")
    try:
        request = x509.load_pem_x509_csr(pem)
        key = request.public_key()
    except (*UNREADABLE, UnsupportedAlgorithm) as error:
        raise BadSigningRequest("expected a certificate signing request in PEM") from error
    strong = _strong(key)
    try:
        _verify(request, strong)
    except (InvalidSignature, UnsupportedAlgorithm, ValueError, TypeError) as error:
        raise BadSigningRequest("expected a request that is signed by its own key, with SHA-256 or better") from error
    return strong


def _strong(key: object) -> PublicKey:
    match key:
        case ec.EllipticCurvePublicKey() if isinstance(key.curve, _CURVES):
            return key
        case ed25519.Ed25519PublicKey():
            return key
        case rsa.RSAPublicKey() if key.key_size in _RSA_BITS and key.public_numbers().e == 65537:
            return key
        case _:
            raise BadSigningRequest("expected a key of P-256, P-384, Ed25519, or RSA with 2048 to 4096 bits and the exponent 65537")


def _verify(request: x509.CertificateSigningRequest, key: PublicKey) -> None:
    used = request.signature_hash_algorithm
    if used is not None and used.name not in _HASHES:
        raise InvalidSignature
    match key:
        case ed25519.Ed25519PublicKey():
            key.verify(request.signature, request.tbs_certrequest_bytes)
        case ec.EllipticCurvePublicKey() if used is not None:
            key.verify(request.signature, request.tbs_certrequest_bytes, ec.ECDSA(used))
        case rsa.RSAPublicKey() if used is not None:
            parameters = request.signature_algorithm_parameters
            scheme = parameters if isinstance(parameters, padding.PSS) else padding.PKCS1v15()
            key.verify(request.signature, request.tbs_certrequest_bytes, scheme, used)
        case _:
            raise InvalidSignature
