"""Certificates, keys and authorities that users keep in Secrets: looked at as those will who use them. Pure.

https://istio.io/latest/docs/tasks/traffic-management/ingress/secure-ingress/#key-formats
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from controlplane.ca.certificates import BadCertificate, as_pem, read_certificates
from controlplane.ca.csr import UNREADABLE

_MAX_BYTES = 1 << 20
_CERTIFICATE = re.compile(rb"-----BEGIN (X509 )?CERTIFICATE-----.*?-----END (X509 )?CERTIFICATE-----", re.DOTALL)
_REVOCATIONS = re.compile(rb"-----BEGIN X509 CRL-----.*?-----END X509 CRL-----", re.DOTALL)
# https://www.envoyproxy.io/docs/envoy/v1.40.0/intro/arch_overview/security/ssl#certificate-selection
_MIN_RSA_BITS = 2048
_CURVES = (ec.SECP256R1, ec.SECP384R1, ec.SECP521R1)


def certificate_and_key(entries: Mapping[str, bytes], names: tuple[Sequence[str], Sequence[str]], now: dt.datetime) -> tuple[bytes, bytes]:
    """Return the certificates and the key in ``entries``, each under the first of its ``names`` that there is, as PEM.

    Raises BadCertificate where one is missing, is none or not good ``now``, or the key is another's; the text tells nothing of the content.
    """
    (chain_name, chain), (key_name, key) = (_found(entries, alternatives) for alternatives in names)
    try:
        [leaf, *_] = read_certificates(chain)
    except BadCertificate as error:
        raise BadCertificate(f"{chain_name}: {error}") from error
    _check_times(chain_name, leaf, now)
    _check_key(leaf)
    try:
        private_key = serialization.load_pem_private_key(key, None)
        matches = private_key.public_key() == leaf.public_key()
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise BadCertificate(f"{key_name}: the key is no private key in PEM without a password") from error
    if not matches:
        raise BadCertificate(f"{key_name}: the key is not that of the certificate in {chain_name}")
    return chain, key


class TrustedAuthorities(NamedTuple):
    """The authorities that are trusted, and the lists of what they have revoked, as PEM; and what of them could not be used."""

    certificates: bytes
    revoked: bytes
    faults: tuple[str, ...]


def _check_key(certificate: x509.Certificate) -> None:
    """Raise BadCertificate where Envoy does not serve with the key of ``certificate``: it would refuse all of the listener's secrets."""
    try:
        key = certificate.public_key()
    except (ValueError, UnsupportedAlgorithm) as error:
        raise BadCertificate("the certificate's key is of a kind that is not known") from error
    match key:
        case rsa.RSAPublicKey() if key.key_size < _MIN_RSA_BITS:
            raise BadCertificate(f"its RSA key has {key.key_size} bits: Envoy takes {_MIN_RSA_BITS} and more")
        case ec.EllipticCurvePublicKey() if not isinstance(key.curve, _CURVES):
            raise BadCertificate(f"its key is on the curve {key.curve.name}: Envoy takes P-256, P-384 and P-521")
        case ec.EllipticCurvePublicKey() if not _may_sign(certificate):
            raise BadCertificate("its key usage is without digitalSignature: Envoy takes no such key on an elliptic curve")
        case rsa.RSAPublicKey() | ec.EllipticCurvePublicKey() | ed25519.Ed25519PublicKey():
            pass
        case _:
            raise BadCertificate("its key is neither RSA nor on an elliptic curve that Envoy takes")


def _may_sign(certificate: x509.Certificate) -> bool:
    """Return whether what ``certificate`` says of the usage of its key, as far as that can be read, lets it sign."""
    try:
        return certificate.extensions.get_extension_for_class(x509.KeyUsage).value.digital_signature
    except (ValueError, x509.ExtensionNotFound, x509.DuplicateExtension):
        return True


def trusted_authorities(entries: Mapping[str, bytes], names: tuple[Sequence[str], Sequence[str]], now: dt.datetime) -> TrustedAuthorities:
    """Return the authorities and their revocations in ``entries``, each under the first of its ``names`` that there is.

    An authority that cannot be read leaves the others trusted. Raises BadCertificate where there is none, and where revocations cannot be
    read: who is revoked would be let in.
    """
    name, pem = _found(entries, names[0])
    readable: list[tuple[int, x509.Certificate]] = []
    faults: list[str] = []
    for number, block in enumerate(_CERTIFICATE.finditer(pem), 1):
        try:
            readable.append((number, x509.load_pem_x509_certificate(block[0])))
        except UNREADABLE:
            faults.append(f"{name}: certificate {number}, at line {_line(pem, block)}, cannot be read: it is not trusted, the others are")
    if not readable:
        raise BadCertificate(f"{name}: expected certificates in PEM")
    if all(certificate.not_valid_after_utc <= now for _, certificate in readable):
        _check_times(name, readable[0][1], now)
    lists_name, lists = next(((each, entries[each]) for each in names[1] if entries.get(each)), ("", b""))
    if lists:
        try:
            faults += _revocation_faults(lists_name, _revocations(lists_name, lists), readable, now)
        except ValueError as error:
            raise BadCertificate(f"{lists_name}: the names of those who have revoked cannot be read") from error
    return TrustedAuthorities(as_pem(certificate for _, certificate in readable), lists, tuple(faults))


def _revocations(name: str, pem: bytes) -> list[x509.CertificateRevocationList]:
    """Return the lists in the entry ``name``; raises BadCertificate where one cannot be read, or there is none."""
    lists = []
    for number, block in enumerate(_REVOCATIONS.finditer(pem), 1):
        try:
            lists.append(x509.load_pem_x509_crl(block[0]))
        except UNREADABLE as error:
            raise BadCertificate(f"{name}: list {number}, at line {_line(pem, block)}, cannot be read") from error
    if not lists:
        raise BadCertificate(f"{name}: expected lists of revoked certificates in PEM")
    return lists


def _revocation_faults(
    name: str, lists: Sequence[x509.CertificateRevocationList], authorities: Sequence[tuple[int, x509.Certificate]], now: dt.datetime
) -> Iterator[str]:
    """Yield whom Envoy refuses because of ``lists``: it takes nobody whose authority has none, or an old one."""
    for number, revoked in enumerate(lists, 1):
        if revoked.next_update_utc is not None and revoked.next_update_utc <= now:
            until = f"{revoked.next_update_utc:%Y-%m-%d %H:%M} UTC"
            yield f"{name}: list {number} was good until {until}: who comes by its authority is refused"
    issuers = {revoked.issuer for revoked in lists}
    for number, certificate in authorities:
        if certificate.subject not in issuers:
            yield f"{name}: it has no list of authority {number}: who comes by that one is refused"


def _line(pem: bytes, block: re.Match[bytes]) -> int:
    return pem.count(b"\n", 0, block.start()) + 1


def _found(entries: Mapping[str, bytes], names: Sequence[str]) -> tuple[str, bytes]:
    """Return the first of ``names`` that is in ``entries``, with its content; raises BadCertificate."""
    for name in names:
        if entry := entries.get(name):
            if len(entry) > _MAX_BYTES:
                raise BadCertificate(f"{name} is longer than {_MAX_BYTES} bytes")
            return name, entry
    raise BadCertificate(f"it has no {' and no '.join(names)}")


def _check_times(name: str, certificate: x509.Certificate, now: dt.datetime) -> None:
    if certificate.not_valid_after_utc <= now:
        raise BadCertificate(f"{name}: the certificate has expired: it was good until {certificate.not_valid_after_utc:%Y-%m-%d %H:%M} UTC")
    if certificate.not_valid_before_utc > now:
        raise BadCertificate(f"{name}: the certificate is not good before {certificate.not_valid_before_utc:%Y-%m-%d %H:%M} UTC")
