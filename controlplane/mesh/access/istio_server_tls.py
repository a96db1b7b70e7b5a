"""From the TLS settings of a Gateway's server, or of a Sidecar's ingress, to values of our own.

https://istio.io/latest/docs/reference/config/networking/gateway/#ServerTLSSettings
"""

from __future__ import annotations

from collections.abc import Iterator

from controlplane.ir.tls import (
    AuthorityFile,
    Certificate,
    CertificateFiles,
    ClientCheck,
    MeshIdentity,
    Peer,
    SecretRef,
    Termination,
    TlsVersion,
)
from controlplane.model.cipher_suites import known_suites
from controlplane.model.credentials import authority_name, certificate_name
from controlplane.objects.networking.sidecar import ServerTLSSettings

_MUTUAL = ("MUTUAL", "OPTIONAL_MUTUAL", "ISTIO_MUTUAL")  # clients are asked for a certificate
_VERSIONS = {
    "TLS_AUTO": TlsVersion.AUTO,
    "TLSV1_0": TlsVersion.TLS_1_0,
    "TLSV1_1": TlsVersion.TLS_1_1,
    "TLSV1_2": TlsVersion.TLS_1_2,
    "TLSV1_3": TlsVersion.TLS_1_3,
}


def termination(settings: ServerTLSSettings, peer: Peer) -> Termination:
    """Return how TLS is terminated by ``settings``; ``peer`` is the accepted identity for ISTIO_MUTUAL."""
    return Termination(
        certificates=tuple(_certificates(settings)),
        clients=_clients(settings, peer) if settings.mode in _MUTUAL else None,
        lowest=_VERSIONS[settings.min_protocol_version],
        highest=_VERSIONS[settings.max_protocol_version],
        cipher_suites=known_suites(settings.cipher_suites),
    )


def needs_identity(settings: ServerTLSSettings) -> bool:
    """Return whether ``settings`` need a proxy with an identity: only such a proxy gets secrets."""
    credential = settings.credential_name or settings.credential_names or settings.ca_cert_credential_name
    return settings.mode == "ISTIO_MUTUAL" or bool(credential)


def _certificates(settings: ServerTLSSettings) -> Iterator[Certificate]:
    if settings.mode == "ISTIO_MUTUAL":
        yield MeshIdentity()
        return
    names = settings.credential_names or ((settings.credential_name,) if settings.credential_name else ())
    yield from (SecretRef(certificate_name(name)) for name in names)
    yield from (CertificateFiles(files.server_certificate, files.private_key) for files in settings.tls_certificates)
    if settings.server_certificate and not names:  # half a pair may be left beside a credential
        yield CertificateFiles(settings.server_certificate, settings.private_key)


def _clients(settings: ServerTLSSettings, peer: Peer) -> ClientCheck:
    return ClientCheck(
        authority=_authority(settings),
        required=settings.mode != "OPTIONAL_MUTUAL",
        trusted=not settings.insecure_skip_verify,
        names=() if settings.insecure_skip_verify else settings.subject_alt_names,
        peer=peer if settings.mode == "ISTIO_MUTUAL" and not settings.subject_alt_names else None,
        keys=settings.verify_certificate_spki,
        hashes=settings.verify_certificate_hash,
        revoked=settings.ca_crl,
    )


def _authority(settings: ServerTLSSettings) -> MeshIdentity | SecretRef | AuthorityFile:
    if settings.mode == "ISTIO_MUTUAL":
        return MeshIdentity()
    if credential := settings.ca_cert_credential_name or settings.credential_name or next(iter(settings.credential_names), ""):
        return SecretRef(authority_name(credential))
    return AuthorityFile(settings.ca_certificates)
