"""Servers of several Gateways on one proxy: what they come to, port by port, and which of them lose."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import NamedTuple

from controlplane.model.hosts import ANY
from controlplane.model.keys import Key
from controlplane.model.protocols import Protocol, parse_protocol
from controlplane.objects.networking.gateway import GatewayServer

OPAQUE = ("PASSTHROUGH", "AUTO_PASSTHROUGH")  # TLS that is not terminated
EVERYWHERE = "0.0.0.0"  # a bind to it says no more than none
_OWN = "."


class PortKind(StrEnum):
    """What a port of a gateway is listened on for: one kind a port."""

    HTTP = "HTTP"
    TLS = "TLS"
    TCP = "TCP"


class ServerRef(NamedTuple):
    """A server, by where it is written."""

    gateway: Key
    at: int


class MergedServer(NamedTuple):
    """A server with the names by which TLS clients reach it: those that no older server has; none in plaintext."""

    place: ServerRef
    server: GatewayServer
    names: tuple[str, ...]


class MergedPort(NamedTuple):
    """A port of the proxy, and the servers on it, oldest first."""

    bind: str
    number: int
    kind: PortKind
    servers: tuple[MergedServer, ...]


class ServerConflict(NamedTuple):
    """What a server does not get, as an older one has it."""

    place: ServerRef
    winner: Key
    what: str


class MergedServers(NamedTuple):
    """What servers come to."""

    ports: tuple[MergedPort, ...] = ()
    losses: tuple[ServerConflict, ...] = ()


class CandidateServer(NamedTuple):
    """A server, and the ports of the proxy that connections for it come in at."""

    place: ServerRef
    server: GatewayServer
    targets: tuple[int, ...]


def port_kind(server: GatewayServer) -> PortKind:
    """Return what the port of ``server`` is listened on for; TLS settings of a plaintext protocol say no more than where to redirect."""
    protocol = parse_protocol(server.port.protocol)
    if protocol.is_http:
        return PortKind.HTTP
    return PortKind.TLS if protocol in (Protocol.HTTPS, Protocol.TLS) else PortKind.TCP


def serves_http(server: GatewayServer) -> bool:
    """Return whether requests to ``server`` are routed one by one, by a route table."""
    terminated = server.tls is not None and server.tls.mode not in OPAQUE
    return port_kind(server) is PortKind.HTTP or (parse_protocol(server.port.protocol) is Protocol.HTTPS and terminated)


def server_hosts(server: GatewayServer, namespace: str) -> tuple[str, ...]:
    """Return the hosts of ``server``, whose Gateway is of ``namespace``, each as ``namespace/host`` with ``.`` resolved."""
    hosts = []
    for written in server.hosts:
        host_namespace, slash, host = written.rpartition("/")
        hosts.append(f"{namespace if host_namespace == _OWN else host_namespace if slash else ANY}/{host.lower()}")
    return tuple(dict.fromkeys(hosts))


def merge_servers(offers: Iterable[CandidateServer]) -> MergedServers:
    """Return what ``offers``, oldest first, come to.

    Servers of one kind share a port. A port of another kind is lost, and so is a second plain TCP server, and of TLS servers a name that
    an older one has.
    """
    ports: dict[tuple[str, int], MergedPort] = {}
    losses: list[ServerConflict] = []
    taken: dict[tuple[str, int], dict[str, Key]] = defaultdict(dict)
    for offer in offers:
        for target in offer.targets:
            bind_and_port = ("" if offer.server.bind == EVERYWHERE else offer.server.bind, target)
            port = ports.get(bind_and_port) or MergedPort(*bind_and_port, port_kind(offer.server), ())
            served, lost = _join_port(port, offer, taken[bind_and_port])
            losses.extend(lost)
            if served:
                taken[bind_and_port].update(dict.fromkeys(served.names, offer.place.gateway))
                ports[bind_and_port] = port._replace(servers=(*port.servers, served))
    return MergedServers(tuple(ports[bind_and_port] for bind_and_port in sorted(ports)), tuple(dict.fromkeys(losses)))


def _join_port(
    port: MergedPort, offer: CandidateServer, by_name: Mapping[str, Key]
) -> tuple[MergedServer | None, Sequence[ServerConflict]]:
    kind = port_kind(offer.server)
    if port.servers and (kind is not port.kind or kind is PortKind.TCP):
        winner = port.servers[0].place.gateway
        what = f"port {port.number}, which it listens on for {port.kind}"
        return None, [ServerConflict(offer.place, winner, what)]
    if kind is not PortKind.TLS:
        return MergedServer(offer.place, offer.server, ()), []
    wanted = _tls_names(offer.server)
    losses = [ServerConflict(offer.place, by_name[name], name) for name in wanted if name in by_name]
    names = tuple(name for name in wanted if name not in by_name)
    return (MergedServer(offer.place, offer.server, names) if names else None), losses


def _tls_names(server: GatewayServer) -> tuple[str, ...]:
    hosts = dict.fromkeys(host.rpartition("/")[2].lower() for host in server.hosts)
    return (ANY,) if ANY in hosts else tuple(hosts)
