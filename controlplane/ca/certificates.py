"""Authorities and the certificates they issue. Pure: keys and the time are arguments, so that whoever calls decides on both.

https://datatracker.ietf.org/doc/html/rfc5280#section-4.2
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from controlplane.errors import NavarchError

BACKDATE = dt.timedelta(minutes=2)  # the clocks of those who verify may be behind


class BadCertificate(NavarchError):
    """A certificate or key that cannot be read, does not fit the other, or would say what it must not."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate with its private key, as PEM; the key is never shown."""

    certificate: bytes
    key: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Authority:
    """Whoever issues: its certificate and its private key, which is never shown."""

    certificate: x509.Certificate
    key: EllipticCurvePrivateKey = field(repr=False)

    @property
    def pem(self) -> bytes:
        """Return the certificate, for those who are to trust it."""
        return self.certificate.public_bytes(serialization.Encoding.PEM)


def authority(name: str, key: EllipticCurvePrivateKey, now: dt.datetime, lifetime: dt.timedelta) -> Authority:
    """Return an authority called ``name`` that signs itself with ``key``, from ``now`` for ``lifetime``."""
    subject = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "navarch"), x509.NameAttribute(NameOID.COMMON_NAME, name)])
    usage = x509.KeyUsage(
        digital_signature=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=True,
        crl_sign=True,
        encipher_only=False,
        decipher_only=False,
    )
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    builder = (
        _builder(subject, subject, key, now, now + lifetime)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(identifier, critical=False)
    )
    return Authority(builder.sign(key, hashes.SHA256()), key)


def serving(issuer: Authority, names: tuple[str, ...], key: EllipticCurvePrivateKey, now: dt.datetime, lifetime: dt.timedelta) -> Pair:
    """Return a certificate for a server that is called by the DNS ``names``; it never outlives the ``issuer``.

    Raises BadCertificate where the issuer has expired.
    """
    if now >= issuer.certificate.not_valid_after_utc:
        raise BadCertificate("the authority has expired")
    until = min(now + lifetime, issuer.certificate.not_valid_after_utc)
    usage = x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
    subject = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "navarch")])
    identifier = issuer.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    builder = (
        _builder(subject, issuer.certificate.subject, key, now, until)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), critical=True)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), critical=False)
    )
    made = builder.sign(issuer.key, hashes.SHA256())
    _check(made, issuer, names)
    return Pair(made.public_bytes(serialization.Encoding.PEM), key_pem(key))


def key_pem(key: EllipticCurvePrivateKey) -> bytes:
    """Return ``key`` as PEM, for a file or a Secret."""
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


def expires_at(pem: bytes) -> dt.datetime:
    """Return when the first certificate of ``pem`` expires; raises BadCertificate."""
    try:
        return x509.load_pem_x509_certificate(pem).not_valid_after_utc
    except ValueError as error:
        raise BadCertificate("expected a certificate in PEM") from error


def _builder(
    subject: x509.Name, issuer: x509.Name, key: EllipticCurvePrivateKey, now: dt.datetime, until: dt.datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATE)
        .not_valid_after(until)
    )


def _check(made: x509.Certificate, issuer: Authority, names: tuple[str, ...]) -> None:
    """Look at what was made as those will who verify it, before it leaves."""
    try:
        made.verify_directly_issued_by(issuer.certificate)
    except (InvalidSignature, ValueError, TypeError) as error:
        raise BadCertificate("the certificate does not verify") from error
    said = made.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    is_ca = made.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    if is_ca or tuple(said.get_values_for_type(x509.DNSName)) != names or len(list(said)) != len(names):
        raise BadCertificate("the certificate says more than it should")
