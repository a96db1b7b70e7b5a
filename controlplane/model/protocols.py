"""What a port carries: by its ``appProtocol``, its name, or its well-known number."""

from __future__ import annotations

from enum import StrEnum


class Protocol(StrEnum):
    """What a service port carries; ``UNSUPPORTED`` where nothing says it: Envoy detects it by the first bytes."""

    HTTP = "HTTP"
    HTTP2 = "HTTP2"
    HTTPS = "HTTPS"
    HTTP_PROXY = "HTTP_PROXY"
    GRPC = "GRPC"
    GRPC_WEB = "GRPC-Web"
    TCP = "TCP"
    TLS = "TLS"
    MONGO = "Mongo"
    MYSQL = "MySQL"
    REDIS = "Redis"
    UDP = "UDP"
    UNSUPPORTED = "UnsupportedProtocol"

    @property
    def is_http(self) -> bool:
        """Whether requests can be routed one by one."""
        return self in (Protocol.HTTP, Protocol.HTTP2, Protocol.GRPC, Protocol.GRPC_WEB)

    @property
    def is_tls(self) -> bool:
        """Whether connections are TLS that the proxy does not end: clients say a server name."""
        return self in (Protocol.HTTPS, Protocol.TLS)

    @property
    def is_http2(self) -> bool:
        """Whether the port speaks HTTP/2 and nothing else."""
        return self in (Protocol.HTTP2, Protocol.GRPC)


_BY_NAME = {protocol.value.lower(): protocol for protocol in Protocol if protocol is not Protocol.UNSUPPORTED} | {
    "http-proxy": Protocol.HTTP_PROXY
}
# https://kubernetes.io/docs/concepts/services-networking/service/#application-protocol
_STANDARD = {"kubernetes.io/h2c": Protocol.HTTP2, "kubernetes.io/ws": Protocol.HTTP, "kubernetes.io/wss": Protocol.HTTPS}
_WELL_KNOWN = {25: Protocol.TCP, 53: Protocol.TCP, 3306: Protocol.TCP, 27017: Protocol.TCP}  # servers that speak first: never sniffed


def parse_protocol(text: str) -> Protocol:
    """Return the protocol that ``text`` names, in any case; ``UNSUPPORTED`` where it names none."""
    return _BY_NAME.get(text.lower(), Protocol.UNSUPPORTED)


def protocol_of(port: int, name: str, app_protocol: str | None, transport: str) -> Protocol:
    """Return what a service port carries: by ``app_protocol``, else the part of ``name`` before its first dash, else ``port``.

    ``transport`` is the Kubernetes protocol, ``TCP``, ``UDP`` or ``SCTP``; what is not TCP counts as UDP. https://istio.io/latest/docs/ops/configuration/traffic-management/protocol-selection/
    """
    if transport in ("UDP", "SCTP"):
        return Protocol.UDP
    protocol = _STANDARD.get(app_protocol or "") or _from_name(app_protocol or name)
    return _WELL_KNOWN.get(port, protocol) if protocol is Protocol.UNSUPPORTED else protocol


def _from_name(name: str) -> Protocol:
    lower = name.lower()
    if lower == "grpc-web" or lower.startswith("grpc-web-"):
        return Protocol.GRPC_WEB
    return parse_protocol(lower.partition("-")[0])
