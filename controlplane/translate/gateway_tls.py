"""TLS that a gateway terminates, as its Gateway says.

https://istio.io/latest/docs/reference/config/networking/gateway/#ServerTLSSettings
"""

from __future__ import annotations

from dataclasses import dataclass

from envoy.config.core.v3.base_pb2 import TransportSocket
from envoy.extensions.transport_sockets.tls.v3.common_pb2 import CertificateValidationContext, TlsParameters
from envoy.extensions.transport_sockets.tls.v3.tls_pb2 import CommonTlsContext, DownstreamTlsContext

from controlplane.ir.tls import Peer
from controlplane.model.credentials import authority_name, certificate_name
from controlplane.objects.networking.sidecar import ServerTLSSettings
from controlplane.translate import tls
from controlplane.translate.secrets import IDENTITY, ROOTS

MUTUAL = ("MUTUAL", "OPTIONAL_MUTUAL", "ISTIO_MUTUAL")  # clients are asked for a certificate
_VERSIONS = {
    "TLS_AUTO": TlsParameters.TLS_AUTO,
    "TLSV1_0": TlsParameters.TLSv1_0,
    "TLSV1_1": TlsParameters.TLSv1_1,
    "TLSV1_2": TlsParameters.TLSv1_2,
    "TLSV1_3": TlsParameters.TLSv1_3,
}
_SERVES_HTTP = ("h2", "http/1.1")


@dataclass(frozen=True, slots=True)
class Termination:
    """How a server's TLS is done; ``peer`` is whom certificates of the mesh have to name, for ISTIO_MUTUAL."""

    settings: ServerTLSSettings
    peer: Peer

    @property
    def asks(self) -> bool:
        """Return whether clients are asked for a certificate."""
        return self.settings.mode in MUTUAL


def needs_identity(settings: ServerTLSSettings) -> bool:
    """Return whether ``settings`` can be kept only by a proxy that has an identity: secrets go to no other."""
    named = settings.credential_name or settings.credential_names or settings.ca_cert_credential_name
    return settings.mode == "ISTIO_MUTUAL" or bool(named)


def downstream(value: Termination, *, http: bool) -> TransportSocket:
    """Return the server's side of TLS as ``value`` says; tickets of other processes are not taken."""
    settings = value.settings
    lowest, highest = _VERSIONS[settings.min_protocol_version], _VERSIONS[settings.max_protocol_version]
    common = CommonTlsContext(
        tls_params={
            "tls_minimum_protocol_version": lowest or TlsParameters.TLSv1_2,
            "tls_maximum_protocol_version": highest,
            "cipher_suites": settings.cipher_suites,
        },
        alpn_protocols=_SERVES_HTTP if http else (),
    )
    _certificates(common, settings)
    if value.asks:
        _validation(common, value)
    context = DownstreamTlsContext(
        common_tls_context=common,
        require_client_certificate={"value": value.asks and settings.mode != "OPTIONAL_MUTUAL"},
        disable_stateless_session_resumption=True,
    )
    return tls.socket(context)


def _certificates(common: CommonTlsContext, settings: ServerTLSSettings) -> None:
    if settings.mode == "ISTIO_MUTUAL":
        common.tls_certificate_sds_secret_configs.append(tls.secret(IDENTITY))
        return
    names = settings.credential_names or ((settings.credential_name,) if settings.credential_name else ())
    common.tls_certificate_sds_secret_configs.extend(tls.secret(certificate_name(each)) for each in names)
    files = [(each.server_certificate, each.private_key) for each in settings.tls_certificates]
    if settings.server_certificate:
        files.append((settings.server_certificate, settings.private_key))
    for chain, key in files:
        common.tls_certificates.add(certificate_chain={"filename": chain}, private_key={"filename": key})


def _validation(common: CommonTlsContext, value: Termination) -> None:
    """Have clients' certificates checked: by the mesh's roots, by an authority from SDS, or by one in a file."""
    settings = value.settings
    checks = CertificateValidationContext(
        verify_certificate_spki=settings.verify_certificate_spki,
        verify_certificate_hash=settings.verify_certificate_hash,
    )
    if settings.insecure_skip_verify:
        checks.trust_chain_verification = CertificateValidationContext.ACCEPT_UNTRUSTED
    else:
        checks.match_typed_subject_alt_names.extend(tls.names(settings.subject_alt_names))
    if settings.ca_crl:
        checks.crl.filename = settings.ca_crl
    if settings.mode == "ISTIO_MUTUAL":
        if not settings.subject_alt_names:
            checks.match_typed_subject_alt_names.extend(tls.alternatives(value.peer))
        _by_secret(common, checks, ROOTS)
    elif named := settings.ca_cert_credential_name or settings.credential_name or next(iter(settings.credential_names), ""):
        _by_secret(common, checks, authority_name(named))
    else:
        checks.trusted_ca.filename = settings.ca_certificates or next((each.ca_certificates for each in settings.tls_certificates), "")
        common.validation_context.CopyFrom(checks)


def _by_secret(common: CommonTlsContext, checks: CertificateValidationContext, name: str) -> None:
    common.combined_validation_context.default_validation_context.CopyFrom(checks)
    common.combined_validation_context.validation_context_sds_secret_config.CopyFrom(tls.secret(name))
