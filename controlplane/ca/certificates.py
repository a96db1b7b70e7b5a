"""Authorities and the certificates they issue. Pure: keys and the time are arguments.

https://datatracker.ietf.org/doc/html/rfc5280#section-4.2
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import TypeAlias

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID, NameOID

from controlplane.ca.csr import UNREADABLE, PublicKey
from controlplane.errors import UserError
from controlplane.model.hosts import is_ip
from controlplane.model.identity import Identity
from controlplane.model.telemetry.workloads import WorkloadNames

PrivateKey: TypeAlias = EllipticCurvePrivateKey | RSAPrivateKey  # the second in an authority that somebody plugged in
_PURPOSES = frozenset((ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH))
_LEAF_EXTENSIONS = frozenset(
    (
        ExtensionOID.BASIC_CONSTRAINTS,
        ExtensionOID.KEY_USAGE,
        ExtensionOID.EXTENDED_KEY_USAGE,
        ExtensionOID.SUBJECT_ALTERNATIVE_NAME,
        ExtensionOID.AUTHORITY_KEY_IDENTIFIER,
    )
)
BACKDATE = dt.timedelta(minutes=2)  # the clocks of those who verify may be behind


class BadCertificate(UserError):
    """A certificate or key that cannot be read, does not fit the other, or would say what it must not."""


@dataclass(frozen=True, slots=True)
class CertificateAndKey:
    """A certificate with its private key, as PEM; the key is never shown."""

    certificate: bytes
    key: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Authority:
    """A certificate authority: its certificate and its private key, which is never shown."""

    certificate: x509.Certificate
    key: PrivateKey = field(repr=False)
    chain: tuple[x509.Certificate, ...] = ()  # what goes out with what it issues: itself and those above it, less the root

    def with_chain(self, leaf: x509.Certificate) -> bytes:
        """Return ``leaf`` and the certificates that lead from it to the root, without that, as PEM."""
        return as_pem((leaf, *self.chain))

    @property
    def pem(self) -> bytes:
        """Return the certificate, for those who are to trust it."""
        return self.certificate.public_bytes(serialization.Encoding.PEM)


def authority(
    name: str, key: EllipticCurvePrivateKey, now: dt.datetime, lifetime: dt.timedelta, above: Authority | None = None
) -> Authority:
    """Return an authority called ``name`` with ``key``, from ``now`` for ``lifetime``: by itself, or an intermediate below ``above``.

    Raises BadCertificate where ``above`` has expired.
    """
    subject = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "navarch"), x509.NameAttribute(NameOID.COMMON_NAME, name)])
    until = valid_until(now, lifetime, above) if above else now + lifetime
    issuer = above.certificate.subject if above else subject
    builder = (
        _builder(subject, issuer, key.public_key(), now, until)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0 if above else 1), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    if above is None:
        return Authority(builder.sign(key, hashes.SHA256()), key)
    certificate = _issued_by(above, builder).sign(above.key, hashes.SHA256())
    return Authority(certificate, key, (certificate, *above.chain) if above.chain else (certificate,))


def server_certificate(
    issuer: Authority, names: tuple[str, ...], key: EllipticCurvePrivateKey, now: dt.datetime, lifetime: dt.timedelta
) -> CertificateAndKey:
    """Return a certificate for a server that is called by ``names``, of DNS or IP addresses; it never outlives the ``issuer``.

    Raises BadCertificate where the issuer has expired.
    """
    subject = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "navarch")])
    alternatives = tuple(x509.IPAddress(ip_address(name)) if is_ip(name) else x509.DNSName(name) for name in names)
    certificate = _leaf(
        issuer, subject, alternatives, key.public_key(), (now, valid_until(now, lifetime, issuer)), ExtendedKeyUsageOID.SERVER_AUTH
    )
    return CertificateAndKey(issuer.with_chain(certificate), key_pem(key))


def workload_certificate(
    issuer: Authority, who: Identity, key: PublicKey, now: dt.datetime, lifetime: dt.timedelta, names: WorkloadNames | None = None
) -> bytes:
    """Return a certificate, with its chain, that says that the holder of ``key`` is ``who``, and no more; it never outlives ``issuer``.

    With ``names``, its subject says by which of them its peers count what they exchange with it. Nothing is allowed or refused by that.
    https://github.com/spiffe/spiffe/blob/main/standards/X509-SVID.md. Raises BadCertificate where the issuer has expired.
    """
    subject = x509.Name([x509.NameAttribute(NameOID.USER_ID, names.subject)] if names else [])
    alternatives = (x509.UniformResourceIdentifier(who.uri),)
    both = (ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH)
    certificate = _leaf(issuer, subject, alternatives, key, (now, valid_until(now, lifetime, issuer)), *both)
    return issuer.with_chain(certificate)


def valid_until(now: dt.datetime, lifetime: dt.timedelta, issuer: Authority) -> dt.datetime:
    """Return until when something that ``issuer`` signs ``now`` for ``lifetime`` is good; raises BadCertificate where that has expired."""
    last = min(certificate.not_valid_after_utc for certificate in (issuer.certificate, *issuer.chain))
    if now >= last:
        raise BadCertificate("the authority has expired")
    return min(now + lifetime, last)


def key_pem(key: PrivateKey) -> bytes:
    """Return ``key`` as PEM, for a file or a Secret."""
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


def expires_at(pem: bytes) -> dt.datetime:
    """Return when the first certificate of ``pem`` expires; raises BadCertificate."""
    try:
        return x509.load_pem_x509_certificate(pem).not_valid_after_utc
    except UNREADABLE as error:
        raise BadCertificate("expected a certificate in PEM") from error


def read_certificates(pem: bytes) -> tuple[x509.Certificate, ...]:
    """Return the certificates of ``pem``, one at least; raises BadCertificate."""
    try:
        return tuple(x509.load_pem_x509_certificates(pem))
    except UNREADABLE as error:
        raise BadCertificate("expected certificates in PEM") from error


def uri_of(pem: bytes) -> str:
    """Return the one URI among the names of the certificate ``pem``, byte by byte as it stands there; raises BadCertificate.

    Whoever reads it by OpenSSL's functions for texts may see less: they end at a NUL (CVE-2021-3712 and its like).
    """
    try:
        names = x509.load_pem_x509_certificate(pem).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        [uri] = names.get_values_for_type(x509.UniformResourceIdentifier)
    except (*UNREADABLE, x509.ExtensionNotFound, x509.DuplicateExtension) as error:
        raise BadCertificate("expected a certificate with one URI among its names") from error
    return uri


def as_pem(certificates: Iterable[x509.Certificate]) -> bytes:
    """Return ``certificates``, one after the other."""
    return b"".join(certificate.public_bytes(serialization.Encoding.PEM) for certificate in certificates)


def _leaf(
    issuer: Authority,
    subject: x509.Name,
    alternatives: tuple[x509.GeneralName, ...],
    key: PublicKey,
    valid: tuple[dt.datetime, dt.datetime],
    *purposes: x509.ObjectIdentifier,
) -> x509.Certificate:
    builder = (
        _builder(subject, issuer.certificate.subject, key, *valid)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
        .add_extension(x509.SubjectAlternativeName(alternatives), critical=True)
    )
    certificate = _issued_by(issuer, builder).sign(issuer.key, hashes.SHA256())
    check_leaf(certificate, issuer, key, alternatives)
    if certificate.subject != subject:
        raise BadCertificate("the certificate says another subject than it should")
    return certificate


def _builder(subject: x509.Name, issuer: x509.Name, key: PublicKey, now: dt.datetime, until: dt.datetime) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATE)
        .not_valid_after(until)
    )


def _issued_by(issuer: Authority, builder: x509.CertificateBuilder) -> x509.CertificateBuilder:
    try:
        own = issuer.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
        identifier = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(own)
    except x509.ExtensionNotFound:  # an authority that somebody plugged in may do without
        identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.certificate.public_key())  # type: ignore[arg-type]
    return builder.add_extension(identifier, critical=False)


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=not signs_certificates,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def check_leaf(leaf: x509.Certificate, issuer: Authority, key: PublicKey, alternatives: tuple[x509.GeneralName, ...]) -> None:
    """Verify ``leaf`` as peers will, before it is handed out; raises BadCertificate where it says more than it should."""
    try:
        leaf.verify_directly_issued_by(issuer.certificate)
        extensions = leaf.extensions
    except (InvalidSignature, ValueError, TypeError) as error:
        raise BadCertificate("the certificate does not verify") from error
    extension = extensions.get_extension_for_class
    if (
        leaf.public_key() != key
        or {extension.oid for extension in extensions} != _LEAF_EXTENSIONS
        or extension(x509.BasicConstraints).value != x509.BasicConstraints(ca=False, path_length=None)
        or not _signs_and_agrees_only(extension(x509.KeyUsage).value)
        or not _PURPOSES.issuperset(extension(x509.ExtendedKeyUsage).value)
        or tuple(extension(x509.SubjectAlternativeName).value) != alternatives
        or leaf.not_valid_after_utc > issuer.certificate.not_valid_after_utc
    ):
        raise BadCertificate("the certificate says more than it should")


def _signs_and_agrees_only(usage: x509.KeyUsage) -> bool:
    more = usage.content_commitment or usage.data_encipherment or usage.key_agreement or usage.key_cert_sign or usage.crl_sign
    return usage.digital_signature and not more
