"""TLS that a gateway terminates."""

from __future__ import annotations

from typing import assert_never

from envoy.config.core.v3.base_pb2 import TransportSocket
from envoy.extensions.transport_sockets.tls.v3.common_pb2 import CertificateValidationContext, TlsParameters
from envoy.extensions.transport_sockets.tls.v3.tls_pb2 import CommonTlsContext, DownstreamTlsContext

from controlplane.ir.tls import AuthorityFile, Certificate, CertificateFiles, ClientCheck, MeshIdentity, SecretRef, Termination, TlsVersion
from controlplane.translate.tls import mesh as mesh_tls
from controlplane.translate.tls.secrets import IDENTITY, ROOTS

_VERSIONS = {
    TlsVersion.AUTO: TlsParameters.TLS_AUTO,
    TlsVersion.TLS_1_0: TlsParameters.TLSv1_0,
    TlsVersion.TLS_1_1: TlsParameters.TLSv1_1,
    TlsVersion.TLS_1_2: TlsParameters.TLSv1_2,
    TlsVersion.TLS_1_3: TlsParameters.TLSv1_3,
}
_SERVES_HTTP = ("h2", "http/1.1")


def downstream(termination: Termination, *, http: bool) -> TransportSocket:
    """Return the server's side of TLS as ``termination`` says; tickets of other processes are not taken."""
    common = CommonTlsContext(
        tls_params={
            "tls_minimum_protocol_version": _VERSIONS[termination.lowest] or TlsParameters.TLSv1_2,
            "tls_maximum_protocol_version": _VERSIONS[termination.highest],
            "cipher_suites": termination.cipher_suites,
        },
        alpn_protocols=_SERVES_HTTP if http else (),
    )
    for certificate in termination.certificates:
        _show(common, certificate)
    if termination.clients:
        _check(common, termination.clients)
    context = DownstreamTlsContext(
        common_tls_context=common,
        require_client_certificate={"value": bool(termination.clients and termination.clients.required)},
        disable_stateless_session_resumption=True,
    )
    return mesh_tls.socket(context)


def _show(common: CommonTlsContext, certificate: Certificate) -> None:
    match certificate:
        case MeshIdentity():
            common.tls_certificate_sds_secret_configs.append(mesh_tls.secret(IDENTITY))
        case SecretRef(name):
            common.tls_certificate_sds_secret_configs.append(mesh_tls.secret(name))
        case CertificateFiles(chain, key):
            common.tls_certificates.add(certificate_chain={"filename": chain}, private_key={"filename": key})
        case _:
            assert_never(certificate)


def _check(common: CommonTlsContext, clients: ClientCheck) -> None:
    """Have clients' certificates checked: by the mesh's roots, by an authority from SDS, or by one in a file."""
    checks = CertificateValidationContext(verify_certificate_spki=clients.keys, verify_certificate_hash=clients.hashes)
    if not clients.trusted:
        checks.trust_chain_verification = CertificateValidationContext.ACCEPT_UNTRUSTED
    checks.match_typed_subject_alt_names.extend(mesh_tls.names(clients.names))
    if clients.peer:
        checks.match_typed_subject_alt_names.extend(mesh_tls.alternatives(clients.peer))
    if clients.revoked:
        checks.crl.filename = clients.revoked
    match clients.authority:
        case MeshIdentity():
            _by_secret(common, checks, ROOTS)
        case SecretRef(name):
            _by_secret(common, checks, name)
        case AuthorityFile(path):
            checks.trusted_ca.filename = path
            common.validation_context.CopyFrom(checks)
        case _:
            assert_never(clients.authority)


def _by_secret(common: CommonTlsContext, checks: CertificateValidationContext, name: str) -> None:
    common.combined_validation_context.default_validation_context.CopyFrom(checks)
    common.combined_validation_context.validation_context_sds_secret_config.CopyFrom(mesh_tls.secret(name))
