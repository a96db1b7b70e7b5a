"""TLS to a service: by itself between workloads of the mesh, or as a DestinationRule says."""

from __future__ import annotations

from dataclasses import dataclass

from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.config.core.v3.base_pb2 import DataSource
from envoy.extensions.transport_sockets.tls.v3.common_pb2 import TlsParameters
from envoy.extensions.transport_sockets.tls.v3.tls_pb2 import CommonTlsContext, UpstreamTlsContext
from envoy.extensions.upstreams.http.v3.http_protocol_options_pb2 import HttpProtocolOptions
from google.protobuf.struct_pb2 import Struct

from controlplane.envoy.packing import pack
from controlplane.ir.tls import Peer
from controlplane.model.credentials import authority_name, certificate_name
from controlplane.model.protocols import Protocol
from controlplane.objects.networking.destination_rule import ClientTLSSettings
from controlplane.translate import tls
from controlplane.translate.cluster_policy import HTTP_OPTIONS

TLS_MODE = "tlsMode"  # of an endpoint, in the metadata below
MATCH = "envoy.transport_socket_match"


@dataclass(frozen=True, slots=True)
class Towards:
    """Who is at the other end of a cluster, for a proxy that has a certificate of its own."""

    peer: Peer
    server_name: str
    automatic: bool  # endpoints that say so are spoken to by mutual TLS without anybody asking for it


def apply_tls(cluster: Cluster, settings: ClientTLSSettings | None, towards: Towards | None, protocol: Protocol) -> None:
    """Have connections of ``cluster`` secured as ``settings`` say, or where they say nothing, as ``towards`` allows.

    A proxy without a certificate (``towards`` is ``None``) speaks as if ISTIO_MUTUAL had not been said: it cannot.
    """
    if settings is None:
        if towards and towards.automatic:
            _automatic(cluster, towards, protocol)
        return
    match settings.mode:
        case "DISABLE":
            return
        case "ISTIO_MUTUAL":
            if towards:
                peer = Peer(names=settings.subject_alt_names) if settings.subject_alt_names else towards.peer
                cluster.transport_socket.CopyFrom(tls.upstream(peer, settings.sni or towards.server_name, protocol))
        case _:
            _told(cluster, settings, protocol)


def _automatic(cluster: Cluster, towards: Towards, protocol: Protocol) -> None:
    mutual = Struct()
    mutual.update({TLS_MODE: tls.ISTIO})
    cluster.transport_socket_matches.add(
        name="tlsMode-istio", match=mutual, transport_socket=tls.upstream(towards.peer, towards.server_name, protocol)
    )
    cluster.transport_socket_matches.add(name="tlsMode-disabled", match=Struct(), transport_socket=tls.plaintext())


def _told(cluster: Cluster, settings: ClientTLSSettings, protocol: Protocol) -> None:
    common = CommonTlsContext(tls_params={"tls_minimum_protocol_version": TlsParameters.TLSv1_2})
    if protocol.is_http2:
        common.alpn_protocols.append("h2")
    if settings.credential_name:
        _by_secret(common, settings)
    else:
        _by_files(common, settings)
    cluster.transport_socket.CopyFrom(tls.socket(UpstreamTlsContext(common_tls_context=common, sni=settings.sni)))
    if not settings.sni:
        _name_by_request(cluster, checks=not settings.subject_alt_names and not settings.insecure_skip_verify)


def _by_files(common: CommonTlsContext, settings: ClientTLSSettings) -> None:
    if settings.mode == "MUTUAL":
        common.tls_certificates.add(
            certificate_chain=DataSource(filename=settings.client_certificate), private_key=DataSource(filename=settings.private_key)
        )
    if settings.insecure_skip_verify:
        return
    validation = common.validation_context
    if settings.ca_certificates:
        validation.trusted_ca.filename = settings.ca_certificates
    else:
        validation.system_root_certs.SetInParent()
    if settings.ca_crl:
        validation.crl.filename = settings.ca_crl
    validation.match_typed_subject_alt_names.extend(tls.names(settings.subject_alt_names))


def _by_secret(common: CommonTlsContext, settings: ClientTLSSettings) -> None:
    """Have certificate and authority come by SDS: to proxies that may have them; others cannot connect.

    https://istio.io/latest/docs/reference/config/networking/destination-rule/#ClientTLSSettings
    """
    if settings.mode == "MUTUAL":
        common.tls_certificate_sds_secret_configs.append(tls.secret(certificate_name(settings.credential_name)))
    if settings.insecure_skip_verify:
        return
    combined = common.combined_validation_context
    combined.default_validation_context.match_typed_subject_alt_names.extend(tls.names(settings.subject_alt_names))
    combined.validation_context_sds_secret_config.CopyFrom(tls.secret(authority_name(settings.credential_name)))


def _name_by_request(cluster: Cluster, *, checks: bool) -> None:
    """Have the server called by the request's host, and, with ``checks``, its certificate be for that."""
    options = HttpProtocolOptions.FromString(cluster.typed_extension_protocol_options[HTTP_OPTIONS].value)
    if options.WhichOneof("upstream_protocol_options") is None:
        options.explicit_http_config.http_protocol_options.SetInParent()
    options.upstream_http_protocol_options.auto_sni = True
    options.upstream_http_protocol_options.auto_san_validation = checks
    cluster.typed_extension_protocol_options[HTTP_OPTIONS].CopyFrom(pack(options))
