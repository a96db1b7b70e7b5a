"""What an authority is made of over time: whom it signs with, whom everybody is to trust, and how one root follows another. Pure.

A new root is trusted before anything is signed by it, and an old one as long as something that it signed may be in use:

- ``prepared``: the new root is in the bundle, the old one signs;
- ``activated``: the new one signs, the old one is still trusted;
- ``steady``: there is one.

A state is one value that is stored as a whole: there is no moment at which only a part of it has been changed.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from enum import StrEnum
from hashlib import sha256
from itertools import pairwise
from typing import NamedTuple

import orjson
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from controlplane.ca.certificates import Authority, BadCertificate, PrivateKey, as_pem, authority, key_pem, read_certificates
from controlplane.errors import UserError

ROOT_LIFETIME = dt.timedelta(days=3650)
_FORMAT = 1


class OutOfOrder(UserError):
    """A phase of a rotation whose turn it is not; the text says what has to come first."""


class Phase(StrEnum):
    """How far one root has followed another."""

    STEADY = "steady"
    PREPARED = "prepared"
    ACTIVATED = "activated"


@dataclass(frozen=True, slots=True)
class CertificateIssuer:
    """Whoever signs, and the root that it is trusted by: the same, or an intermediate below it."""

    signer: Authority
    root: bytes  # PEM

    @property
    def fingerprint(self) -> str:
        """Return the SHA-256 of the root's PEM, in hex: which tells it from other roots."""
        return sha256(self.root).hexdigest()


@dataclass(frozen=True, slots=True)
class AuthorityState:
    """The issuers there are, oldest first: one, or two during a rotation."""

    phase: Phase
    issuers: tuple[CertificateIssuer, ...]

    @property
    def signing(self) -> CertificateIssuer:
        """Return who signs now."""
        return self.issuers[-1] if self.phase is Phase.ACTIVATED else self.issuers[0]

    @property
    def bundle(self) -> bytes:
        """Return the roots that everybody is to trust, as PEM."""
        return b"".join(issuer.root for issuer in self.issuers)

    @property
    def bundle_id(self) -> str:
        """Return what tells this bundle from others."""
        return sha256(self.bundle).hexdigest()[:16]


def initial_state(issuer: CertificateIssuer) -> AuthorityState:
    """Return the state of a new authority."""
    return AuthorityState(Phase.STEADY, (issuer,))


def new_issuer(
    key: EllipticCurvePrivateKey, now: dt.datetime, lifetime: dt.timedelta = ROOT_LIFETIME, below: EllipticCurvePrivateKey | None = None
) -> CertificateIssuer:
    """Return an issuer with a root of ``key``; with ``below`` an intermediate of that key signs, and the root's key is forgotten."""
    root = authority(f"root {now:%Y-%m-%d}", key, now, lifetime)
    return CertificateIssuer(authority("intermediate", below, now, lifetime, root) if below else root, root.pem)


def prepare(state: AuthorityState, next_issuer: CertificateIssuer) -> AuthorityState:
    """Return ``state`` with ``next_issuer`` trusted too; raises OutOfOrder where a rotation is under way."""
    if state.phase is not Phase.STEADY:
        raise OutOfOrder(f"a rotation is under way: it is {state.phase}")
    if next_issuer.root in state.bundle:
        raise OutOfOrder("expected a root with a key of its own")
    return AuthorityState(Phase.PREPARED, (*state.issuers, next_issuer))


def activate(state: AuthorityState, missing: int, namespaces: int = 0) -> AuthorityState:
    """Return ``state`` with the new issuer signing; ``missing`` is how many proxies have not accepted the new bundle yet.

    ``namespaces`` is in how many of them pods may not have the bundle among their files. Raises OutOfOrder where the new root is not
    prepared, or some do not trust it yet.
    """
    if state.phase is not Phase.PREPARED:
        raise OutOfOrder(f"expected a root that is prepared; the rotation is {state.phase}")
    if missing:
        raise OutOfOrder(f"{missing} proxies have not accepted the new bundle yet")
    if namespaces:
        raise OutOfOrder(f"the pods of {namespaces} namespaces may not have the new bundle yet")
    return replace(state, phase=Phase.ACTIVATED)


def retire(state: AuthorityState, missing: int) -> AuthorityState:
    """Return ``state`` without the old issuer; ``missing`` is how many proxies still have a certificate of it.

    Raises OutOfOrder where the new issuer does not sign yet, or the old one's certificates are in use.
    """
    if state.phase is not Phase.ACTIVATED:
        raise OutOfOrder(f"expected the new root to be activated; the rotation is {state.phase}")
    if missing:
        raise OutOfOrder(f"{missing} proxies still have a certificate by the old root")
    return AuthorityState(Phase.STEADY, state.issuers[1:])


def dump_state(state: AuthorityState) -> bytes:
    """Return ``state`` as it is stored: keys included, so nobody else may read it."""
    issuers = [
        {
            "root": issuer.root.decode(),
            "certificate": issuer.signer.pem.decode(),
            "key": key_pem(issuer.signer.key).decode(),
            "chain": as_pem(issuer.signer.chain).decode(),
        }
        for issuer in state.issuers
    ]
    return orjson.dumps({"format": _FORMAT, "phase": state.phase.value, "issuers": issuers}, option=orjson.OPT_INDENT_2)


def load_state(stored: bytes) -> AuthorityState:
    """Return the state that ``dump`` gave; raises BadCertificate where it is not whole."""
    try:
        document = orjson.loads(stored)
        if document["format"] != _FORMAT:
            raise BadCertificate(f"expected a state of format {_FORMAT}")
        state = AuthorityState(Phase(document["phase"]), tuple(_stored_issuer(entry) for entry in document["issuers"]))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadCertificate("expected the state of an authority") from error
    if len(state.issuers) != (1 if state.phase is Phase.STEADY else 2):
        raise BadCertificate("the number of roots does not fit the phase")
    return state


class AuthorityFiles(NamedTuple):
    """What the files of somebody else's authority are called; one may be two of them."""

    certificate: str = "ca-cert.pem"
    key: str = "ca-key.pem"
    chain: str = "cert-chain.pem"
    root: str = "root-cert.pem"


CACERTS = AuthorityFiles()  # https://istio.io/latest/docs/tasks/security/cert-management/plugin-ca-cert/
TLS_SECRET = AuthorityFiles("tls.crt", "tls.key", "tls.crt", "ca.crt")  # of a Secret of type kubernetes.io/tls, as cert-manager writes it


def issuer_from_files(files: Mapping[str, bytes], names: AuthorityFiles = CACERTS) -> CertificateIssuer:
    """Return the issuer of the ``files`` of somebody else's authority, called by ``names``.

    Raises BadCertificate where one cannot be read, or they do not belong together, naming the file.
    """
    [signer, *_] = _certificates_in(files, names.certificate)
    intermediates = _certificates_in(files, names.chain) if files[names.chain].strip() else ()
    roots = _certificates_in(files, names.root)
    try:
        private = _private_key(files[names.key])
    except BadCertificate as error:
        raise BadCertificate(f"{names.key}: {error}") from error
    if signer.public_key() != private.public_key():
        raise BadCertificate(f"{names.key} is not the key of {names.certificate}")
    self_signed = signer in roots
    path = (
        () if self_signed else tuple(dict.fromkeys((signer, *(certificate for certificate in intermediates if certificate not in roots))))
    )
    for child, parent in pairwise(path):
        _verify(child, (parent,), names)
    if path:
        _verify(path[-1], roots, names)
    return CertificateIssuer(Authority(signer, private, path), as_pem(roots))


def _certificates_in(files: Mapping[str, bytes], name: str) -> tuple[x509.Certificate, ...]:
    try:
        return read_certificates(files[name])
    except BadCertificate as error:
        raise BadCertificate(f"{name}: {error}") from error


def exported_files(state: AuthorityState) -> dict[str, bytes]:
    """Return who signs now, with the key, as the files that ``issuer_from_files`` takes; the roots are all that are trusted."""
    signer = state.signing.signer
    return {
        CACERTS.certificate: signer.pem,
        CACERTS.key: key_pem(signer.key),
        CACERTS.chain: as_pem(signer.chain),
        CACERTS.root: state.bundle,
    }


def _verify(child: x509.Certificate, parents: Iterable[x509.Certificate], names: AuthorityFiles) -> None:
    for parent in parents:
        with suppress(InvalidSignature, ValueError, TypeError):
            child.verify_directly_issued_by(parent)
            return
    raise BadCertificate(f"the chain in {names.chain} does not lead from {names.certificate} to {names.root}")


def _stored_issuer(entry: dict[str, str]) -> CertificateIssuer:
    [certificate] = read_certificates(entry["certificate"].encode())
    chain = read_certificates(entry["chain"].encode()) if entry["chain"] else ()
    key = _private_key(entry["key"].encode())
    if certificate.public_key() != key.public_key():
        raise BadCertificate("the key is not that of the certificate")
    return CertificateIssuer(Authority(certificate, key, chain), entry["root"].encode())


def _private_key(pem: bytes) -> PrivateKey:
    try:
        key = serialization.load_pem_private_key(pem, None)
    except (ValueError, TypeError) as error:
        raise BadCertificate("expected a private key in PEM") from error
    if not isinstance(key, EllipticCurvePrivateKey | RSAPrivateKey):
        raise BadCertificate("expected an ECDSA or RSA key")
    return key


def read_key(pem: bytes) -> EllipticCurvePrivateKey:
    """Return the ECDSA key ``pem``; raises BadCertificate."""
    key = _private_key(pem)
    if not isinstance(key, EllipticCurvePrivateKey):
        raise BadCertificate("expected an ECDSA key")
    return key
