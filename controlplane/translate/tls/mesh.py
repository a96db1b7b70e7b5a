"""Transport sockets: TLS with the workload's own certificate, towards peers of the mesh and from them.

Stock Envoy has no filter that says inside of the handshake which protocol follows, as Istio's own proxy has. The cluster says it: what is
known to be HTTP announces one of Istio's names for it, everything else ``istio`` alone. ``istio-peer-exchange`` is never announced: to a
proxy of Istio's it would promise bytes that stock Envoy does not send.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from envoy.config.core.v3.base_pb2 import TransportSocket
from envoy.extensions.transport_sockets.raw_buffer.v3.raw_buffer_pb2 import RawBuffer
from envoy.extensions.transport_sockets.tls.v3.common_pb2 import SubjectAltNameMatcher, TlsParameters
from envoy.extensions.transport_sockets.tls.v3.secret_pb2 import SdsSecretConfig
from envoy.extensions.transport_sockets.tls.v3.tls_pb2 import CommonTlsContext, DownstreamTlsContext, UpstreamTlsContext
from google.protobuf.message import Message

from controlplane.envoy.packing import pack
from controlplane.ir.tls import Peer
from controlplane.model.hosts import is_ip
from controlplane.model.protocols import Protocol
from controlplane.translate.addresses import ads
from controlplane.translate.tls.secrets import IDENTITY, ROOTS

SOCKET = "envoy.transport_sockets.tls"
ISTIO = "istio"
HTTP_OF_PEERS = ("istio-http/1.0", "istio-http/1.1", "istio-h2")
OTHERS_OF_PEERS = ("istio-peer-exchange", ISTIO)
_SERVES_HTTP = ("h2", "http/1.1")


def upstream(peer: Peer, server_name: str, protocol: Protocol) -> TransportSocket:
    """Return mutual TLS to ``peer``, who is called by ``server_name`` and is sent ``protocol``."""
    context = UpstreamTlsContext(common_tls_context=_common(peer, _announced(protocol)), sni=server_name)
    return socket(context)


def downstream(peer: Peer, *, http: bool) -> TransportSocket:
    """Return mutual TLS from ``peer``; tickets of other processes are not taken, so that a root that is gone is gone."""
    context = DownstreamTlsContext(
        common_tls_context=_common(peer, _SERVES_HTTP if http else ()),
        require_client_certificate={"value": True},
        disable_stateless_session_resumption=True,
    )
    return socket(context)


def control_plane(host: str) -> TransportSocket:
    """Return mutual TLS to the control plane at ``host``, whose certificate has to be for that."""
    common = _common(Peer(), ())
    common.combined_validation_context.default_validation_context.match_typed_subject_alt_names.extend(names([host]))
    return socket(UpstreamTlsContext(common_tls_context=common, sni="" if is_ip(host) else host))


def plaintext() -> TransportSocket:
    """Return no TLS at all."""
    return TransportSocket(name="envoy.transport_sockets.raw_buffer", typed_config=pack(RawBuffer()))


def socket(context: Message) -> TransportSocket:
    """Return the transport socket of a TLS ``context``."""
    return TransportSocket(name=SOCKET, typed_config=pack(context))


def secret(name: str) -> SdsSecretConfig:
    """Return that the secret ``name`` comes on the stream that brought whatever refers to it."""
    return SdsSecretConfig(name=name, sds_config=ads())


def alternatives(peer: Peer) -> list[SubjectAltNameMatcher]:
    """Return what the peer's certificate has to say, any of it."""
    uri = SubjectAltNameMatcher.URI
    named = [SubjectAltNameMatcher(san_type=uri, matcher={"exact": name}) for name in peer.names]
    return named + [SubjectAltNameMatcher(san_type=uri, matcher={"prefix": prefix}) for prefix in peer.within]


def names(written: Iterable[str]) -> list[SubjectAltNameMatcher]:
    """Return what a certificate has to say, any of the names that users have ``written``: addresses, URIs, host names."""
    return [SubjectAltNameMatcher(san_type=_kind(name), matcher={"exact": name}) for name in written]


def _kind(name: str) -> SubjectAltNameMatcher.SanType:
    if "://" in name:
        return SubjectAltNameMatcher.URI
    return SubjectAltNameMatcher.IP_ADDRESS if is_ip(name) else SubjectAltNameMatcher.DNS


def _common(peer: Peer, announced: Sequence[str]) -> CommonTlsContext:
    return CommonTlsContext(
        tls_params={"tls_minimum_protocol_version": TlsParameters.TLSv1_2},
        alpn_protocols=announced,
        tls_certificate_sds_secret_configs=[secret(IDENTITY)],
        combined_validation_context={
            "default_validation_context": {"match_typed_subject_alt_names": alternatives(peer)},
            "validation_context_sds_secret_config": secret(ROOTS),
        },
    )


def _announced(protocol: Protocol) -> tuple[str, ...]:
    if protocol.is_http2:
        return ("istio-h2", ISTIO)
    return ("istio-http/1.1", ISTIO) if protocol.is_http else (ISTIO,)
