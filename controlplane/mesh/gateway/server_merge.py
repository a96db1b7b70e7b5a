"""Servers of several Gateways on one proxy, merged port by port, with the conflicts between them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import NamedTuple

from controlplane.model.hosts import ANY
from controlplane.model.keys import Key
from controlplane.model.protocols import Protocol, parse_protocol
from controlplane.objects.networking.gateway import GatewayServer

_BY_CLUSTER = "AUTO_PASSTHROUGH"
OPAQUE = ("PASSTHROUGH", _BY_CLUSTER)  # TLS that is not terminated
EVERYWHERE = "0.0.0.0"  # binding to it means the same as no bind
_OWN = "."


class PortKind(StrEnum):
    """What a port of a gateway accepts: one kind a port."""

    HTTP = "HTTP"
    TLS = "TLS"
    TCP = "TCP"


class ServerRef(NamedTuple):
    """A server, by where it is written."""

    gateway: Key
    position: int  # among the servers of the Gateway


class MergedServer(NamedTuple):
    """A server with the names by which TLS clients reach it: those that no older server has; none in plaintext."""

    server_ref: ServerRef
    server: GatewayServer
    names: tuple[str, ...]


class MergedPort(NamedTuple):
    """A port of the proxy, and the servers on it, oldest first."""

    bind: str
    number: int
    kind: PortKind
    servers: tuple[MergedServer, ...]


class ServerConflict(NamedTuple):
    """What a server does not get because an older one, of the Gateway ``winner``, has it."""

    server_ref: ServerRef
    winner: Key
    contested: str


class MergedServers(NamedTuple):
    """The ports that servers make together, and the conflicts between them."""

    ports: tuple[MergedPort, ...] = ()
    conflicts: tuple[ServerConflict, ...] = ()


class CandidateServer(NamedTuple):
    """A server, and the ports of the proxy that accept its connections."""

    server_ref: ServerRef
    server: GatewayServer
    targets: tuple[int, ...]


def port_kind(server: GatewayServer) -> PortKind:
    """Return what the port of ``server`` accepts; TLS settings of a plaintext protocol only set its redirect."""
    protocol = parse_protocol(server.port.protocol)
    if protocol.is_http:
        return PortKind.HTTP
    return PortKind.TLS if protocol.is_tls else PortKind.TCP


def serves_http(server: GatewayServer) -> bool:
    """Return whether requests to ``server`` are routed one by one, by a route table."""
    terminated = server.tls is not None and server.tls.mode not in OPAQUE
    return port_kind(server) is PortKind.HTTP or (parse_protocol(server.port.protocol) is Protocol.HTTPS and terminated)


def passes_to_clusters(server: GatewayServer) -> bool:
    """Return whether the mutual TLS of the mesh goes through ``server``, to the cluster that its server name says."""
    return server.tls is not None and server.tls.mode == _BY_CLUSTER and port_kind(server) is PortKind.TLS


def server_hosts(server: GatewayServer, namespace: str) -> tuple[str, ...]:
    """Return the hosts of ``server``, whose Gateway is of ``namespace``, each as ``namespace/host`` with ``.`` resolved."""
    hosts = []
    for written in server.hosts:
        host_namespace, slash, host = written.rpartition("/")
        hosts.append(f"{namespace if host_namespace == _OWN else host_namespace if slash else ANY}/{host}")
    return tuple(dict.fromkeys(hosts))


def merge_servers(offers: Iterable[CandidateServer]) -> MergedServers:
    """Return ``offers``, oldest first, merged port by port.

    Servers of one kind share a port. What an older server excludes becomes a conflict: a port of another kind, a second
    plain TCP server, and of TLS servers a name that an older one has.
    """
    ports: dict[tuple[str, int], MergedPort] = {}
    conflicts: list[ServerConflict] = []
    taken: dict[tuple[str, int], dict[str, Key]] = defaultdict(dict)
    for offer in offers:
        for target in offer.targets:
            bind_and_port = ("" if offer.server.bind == EVERYWHERE else offer.server.bind, target)
            port = ports.get(bind_and_port) or MergedPort(*bind_and_port, port_kind(offer.server), ())
            merged_server, lost = _join_port(port, offer, taken[bind_and_port])
            conflicts.extend(lost)
            if merged_server:
                taken[bind_and_port].update(dict.fromkeys(merged_server.names, offer.server_ref.gateway))
                ports[bind_and_port] = port._replace(servers=(*port.servers, merged_server))
    return MergedServers(tuple(ports[bind_and_port] for bind_and_port in sorted(ports)), tuple(dict.fromkeys(conflicts)))


def _join_port(
    port: MergedPort, offer: CandidateServer, by_name: Mapping[str, Key]
) -> tuple[MergedServer | None, Sequence[ServerConflict]]:
    kind = port_kind(offer.server)
    if port.servers and (kind is not port.kind or kind is PortKind.TCP):
        winner = port.servers[0].server_ref.gateway
        contested = f"port {port.number}, which it listens on for {port.kind}"
        return None, [ServerConflict(offer.server_ref, winner, contested)]
    if kind is not PortKind.TLS:
        return MergedServer(offer.server_ref, offer.server, ()), []
    wanted = _tls_names(offer.server)
    conflicts = [ServerConflict(offer.server_ref, by_name[name], name) for name in wanted if name in by_name]
    names = tuple(name for name in wanted if name not in by_name)
    return (MergedServer(offer.server_ref, offer.server, names) if names else None), conflicts


def _tls_names(server: GatewayServer) -> tuple[str, ...]:
    hosts = dict.fromkeys(host.rpartition("/")[2] for host in server.hosts)
    return (ANY,) if ANY in hosts else tuple(hosts)
