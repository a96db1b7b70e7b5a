"""TLS to a service: by itself between workloads of the mesh, or as users ask for it."""

from __future__ import annotations

from typing import assert_never

from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.config.core.v3.base_pb2 import DataSource
from envoy.extensions.transport_sockets.tls.v3.common_pb2 import TlsParameters
from envoy.extensions.transport_sockets.tls.v3.tls_pb2 import CommonTlsContext, UpstreamTlsContext
from envoy.extensions.upstreams.http.v3.http_protocol_options_pb2 import HttpProtocolOptions
from google.protobuf.struct_pb2 import Struct

from controlplane.envoy.packing import pack
from controlplane.ir.clusters import UpstreamPeer
from controlplane.ir.tls import AuthorityFile, CertificateFiles, MeshTls, OriginatedTls, Peer, PlainUpstream, SecretRef, SystemRoots
from controlplane.model.protocols import Protocol
from controlplane.translate.clusters.traffic_policy import HTTP_OPTIONS
from controlplane.translate.tls import mesh as mesh_tls

# Where Debian has them, and with it Envoy's images. Envoy has a field that says "those of the system", and verifies nothing by it:
# https://www.envoyproxy.io/docs/envoy/v1.40.0/api-v3/extensions/transport_sockets/tls/v3/common.proto
_SYSTEM_ROOTS = "/etc/ssl/certs/ca-certificates.crt"
TLS_MODE = "tlsMode"  # of an endpoint, in the metadata below
MATCH = "envoy.transport_socket_match"


def apply_tls(
    cluster: Cluster,
    settings: PlainUpstream | MeshTls | OriginatedTls | None,
    other: UpstreamPeer | None,
    protocol: Protocol,
    *,
    http2: bool,
) -> None:
    """Have connections of ``cluster`` secured as ``settings`` say, or where they say nothing, as ``other`` allows.

    ``http2``: requests are spoken by it, whatever ``protocol`` is declared.
    A proxy without a certificate (``other`` is ``None``) speaks as if nobody had asked for the mesh's TLS: it cannot.
    """
    match settings:
        case None:
            if other and other.automatic:
                _automatic(cluster, other, protocol)
        case PlainUpstream():
            pass
        case MeshTls(names, server_name):
            if other:
                peer = Peer(names=names) if names else other.peer
                cluster.transport_socket.CopyFrom(mesh_tls.upstream(peer, server_name or other.server_name, protocol))
        case OriginatedTls():
            _originated(cluster, settings, http2=http2)
        case _:
            assert_never(settings)


def _automatic(cluster: Cluster, other: UpstreamPeer, protocol: Protocol) -> None:
    """Have each endpoint spoken to by mutual TLS that says so; where none is chosen, nobody says it, so that it is all of them or none."""
    if cluster.type == Cluster.ORIGINAL_DST:
        if other.everywhere:
            cluster.transport_socket.CopyFrom(mesh_tls.upstream(other.peer, other.server_name, protocol))
        return
    mutual = Struct()
    mutual.update({TLS_MODE: mesh_tls.ISTIO})
    cluster.transport_socket_matches.add(
        name="tlsMode-istio", match=mutual, transport_socket=mesh_tls.upstream(other.peer, other.server_name, protocol)
    )
    cluster.transport_socket_matches.add(name="tlsMode-disabled", match=Struct(), transport_socket=mesh_tls.plaintext())


def _originated(cluster: Cluster, settings: OriginatedTls, *, http2: bool) -> None:
    common = CommonTlsContext(tls_params={"tls_minimum_protocol_version": TlsParameters.TLSv1_2})
    if http2:
        common.alpn_protocols.append("h2")
    _show(common, settings.certificate)
    _check(common, settings)
    cluster.transport_socket.CopyFrom(mesh_tls.socket(UpstreamTlsContext(common_tls_context=common, sni=settings.server_name)))
    if not settings.server_name:
        _name_by_request(cluster, checks=not settings.names and settings.authority is not None)


def _show(common: CommonTlsContext, certificate: SecretRef | CertificateFiles | None) -> None:
    match certificate:
        case None:
            pass
        case SecretRef(name):
            common.tls_certificate_sds_secret_configs.append(mesh_tls.secret(name))
        case CertificateFiles(chain, key):
            common.tls_certificates.add(certificate_chain=DataSource(filename=chain), private_key=DataSource(filename=key))
        case _:
            assert_never(certificate)


def _check(common: CommonTlsContext, settings: OriginatedTls) -> None:
    match settings.authority:
        case None:
            return
        case SecretRef(name):
            checks = common.combined_validation_context.default_validation_context
            common.combined_validation_context.validation_context_sds_secret_config.CopyFrom(mesh_tls.secret(name))
        case AuthorityFile(path):
            checks = common.validation_context
            checks.trusted_ca.filename = path
        case SystemRoots():
            checks = common.validation_context
            checks.trusted_ca.filename = _SYSTEM_ROOTS
        case _:
            assert_never(settings.authority)
    if settings.revoked:
        checks.crl.filename = settings.revoked
    checks.match_typed_subject_alt_names.extend(mesh_tls.names(settings.names))


def _name_by_request(cluster: Cluster, *, checks: bool) -> None:
    """Have the server called by the request's host, and, with ``checks``, its certificate be for that."""
    options = HttpProtocolOptions.FromString(cluster.typed_extension_protocol_options[HTTP_OPTIONS].value)
    if options.WhichOneof("upstream_protocol_options") is None:
        options.explicit_http_config.http_protocol_options.SetInParent()
    options.upstream_http_protocol_options.auto_sni = True
    options.upstream_http_protocol_options.auto_san_validation = checks
    cluster.typed_extension_protocol_options[HTTP_OPTIONS].CopyFrom(pack(options))
