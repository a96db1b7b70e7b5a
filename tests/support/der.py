"""Certificate signing requests that no library would write: put together byte by byte."""

from __future__ import annotations

import base64
from collections.abc import Sequence

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes

_SEQUENCE, _SET, _ATTRIBUTES, _BITS, _NUMBER = 0x30, 0x31, 0xA0, 0x03, 0x02
_EXTENSION_REQUEST = bytes.fromhex("06092a864886f70d01090e")
_ECDSA_SHA256 = bytes.fromhex("06082a8648ce3d040302")
_RSA = bytes.fromhex("06092a864886f70d0101010500")


def tlv(tag: int, *parts: bytes) -> bytes:
    """Return ``parts`` under ``tag``, with their length."""
    content = b"".join(parts)
    if len(content) < 128:
        return bytes((tag, len(content))) + content
    size = len(content).to_bytes((len(content).bit_length() + 7) // 8)
    return bytes((tag, 0x80 | len(size))) + size + content


def number(value: int) -> bytes:
    """Return a positive integer."""
    return tlv(_NUMBER, value.to_bytes(value.bit_length() // 8 + 1))


def rsa_key(modulus: int, exponent: int) -> bytes:
    """Return an RSA key with any exponent."""
    return tlv(_SEQUENCE, tlv(_SEQUENCE, _RSA), tlv(_BITS, b"\0", tlv(_SEQUENCE, number(modulus), number(exponent))))


def request(
    signer: ec.EllipticCurvePrivateKey,
    extensions: Sequence[x509.ExtensionType],
    key: CertificatePublicKeyTypes | bytes = b"",
    version: int = 0,
) -> bytes:
    """Return a request with ``extensions`` as they come, for ``key`` or that of ``signer``, who signs it; as PEM."""
    public = key or signer.public_key()
    if not isinstance(public, bytes):
        public = public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    wanted = tlv(_SEQUENCE, *(tlv(_SEQUENCE, _oid(each.oid), tlv(0x04, each.public_bytes())) for each in extensions))
    attributes = tlv(_ATTRIBUTES, tlv(_SEQUENCE, _EXTENSION_REQUEST, tlv(_SET, wanted)))
    told = tlv(_SEQUENCE, number(version), tlv(_SEQUENCE), public, attributes)
    signature = signer.sign(told, ec.ECDSA(hashes.SHA256()))
    whole = tlv(_SEQUENCE, told, tlv(_SEQUENCE, _ECDSA_SHA256), tlv(_BITS, b"\0", signature))
    return b"-----BEGIN CERTIFICATE REQUEST-----\n" + base64.encodebytes(whole) + b"-----END CERTIFICATE REQUEST-----\n"


def _oid(given: x509.ObjectIdentifier) -> bytes:
    first, second, *others = (int(each) for each in given.dotted_string.split("."))
    encoded = bytearray((40 * first + second,))
    for each in others:
        groups = [each & 0x7F]
        while each := each >> 7:
            groups.append(each & 0x7F | 0x80)
        encoded.extend(reversed(groups))
    return tlv(0x06, bytes(encoded))
