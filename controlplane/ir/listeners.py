"""What a sidecar listens on: for connections from the workload, and for those to it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace

from controlplane.ir.telemetry.listeners import SILENT, ListenerTelemetry
from controlplane.ir.tls import Peer, Termination
from controlplane.model.cluster_names import INBOUND, cluster_name
from controlplane.model.deferrals import NONE_MISSING, MissingDestinations
from controlplane.model.hosts import ANY
from controlplane.model.mesh import PathNormalization
from controlplane.model.peer_authentication import MutualTLSMode
from controlplane.model.protocols import Protocol
from controlplane.model.proxies import IpFamilies
from controlplane.model.services import Service


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionLimits:
    """How much a proxy takes in at a time of one connection; ``None`` is Envoy's, at gateways its advice for the edge."""

    buffer_bytes: int | None = None  # that are read and not yet sent on, each way
    max_concurrent_streams: int | None = None
    stream_window_bytes: int | None = None  # of HTTP/2: that a peer may send ahead in one stream
    connection_window_bytes: int | None = None  # and in all of them
    max_request_headers_kb: int | None = None  # a request with more is refused
    headers_timeout_ms: int | None = None  # until a request's headers are complete; 0: no limit

    def over(self, base: ConnectionLimits) -> ConnectionLimits:
        """Return these limits, and those of ``base`` where these say nothing."""
        own = {limit.name: value for limit in fields(self) if (value := getattr(self, limit.name)) is not None}
        return replace(base, **own)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionSettings:
    """What holds for every connection and request that a proxy handles, whichever listener takes it.

    ``detection_timeout_ms``: a client that has said nothing for so long, where the first bytes are looked at, waits for the server to
    begin: its protocol is taken for one of those that nothing is known of. 0: it is waited for without end.
    """

    paths: PathNormalization = PathNormalization.BASE  # before anything is decided by them
    limits: ConnectionLimits = ConnectionLimits()
    detection_timeout_ms: int = 0
    telemetry: ListenerTelemetry = SILENT


@dataclass(frozen=True, slots=True, kw_only=True)
class TcpLimits:
    """What is held to on each connection that is sent on whole.

    ``idle_timeout_ms``: it ends when nothing has passed for so long, either way; 0 never, ``None`` as Envoy has it (an hour).
    ``max_duration_ms``: it ends after so long; ``None`` never. ``hash_by_source``: a client's address decides on its endpoint.
    """

    idle_timeout_ms: int | None = None
    max_duration_ms: int | None = None
    hash_by_source: bool = False


NO_LIMITS = TcpLimits()


@dataclass(frozen=True, slots=True)
class HttpRouting:
    """Requests are routed one by one, as the RouteConfiguration ``route`` says.

    ``by_address``: a service whose clients choose an endpoint themselves is asked at the one that the connection was going to.
    """

    route: str
    by_address: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class TcpForwarding:
    """Whole connections are sent on to one of ``clusters``, by their weights, within ``limits``.

    With ``endpoint`` to that address of the cluster alone: the client has chosen it. Connections to what is ``missing`` are closed.
    """

    clusters: tuple[tuple[str, int], ...]
    limits: TcpLimits = NO_LIMITS
    endpoint: str = ""
    missing: MissingDestinations = NONE_MISSING


@dataclass(frozen=True, slots=True)
class ProtocolDetection:
    """HTTP is told from the rest by the first bytes."""

    http: HttpRouting
    other: TcpForwarding


Handling = HttpRouting | TcpForwarding | ProtocolDetection


def missing_of(handling: Handling) -> MissingDestinations:
    """Return the destinations of the connections that ``handling`` sends on whole that are not there."""
    match handling:
        case HttpRouting():
            return NONE_MISSING
        case TcpForwarding():
            return handling.missing
        case ProtocolDetection():
            return handling.other.missing


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainMatch:
    """Which connections a filter chain is for: by the server name that a TLS client calls, and by the block that they were going to.

    What is empty fits all. Envoy looks for the narrowest block first, and there for the narrowest name; it never goes back.
    https://www.envoyproxy.io/docs/envoy/latest/api-v3/config/listener/v3/listener_components.proto#config-listener-v3-filterchainmatch
    """

    server_names: tuple[str, ...] = ()
    subnets: tuple[str, ...] = ()  # in CIDR notation


EVERY_CONNECTION = ChainMatch()


@dataclass(frozen=True, slots=True)
class OutboundChain:
    """One kind of connection that a listener takes, and what becomes of it."""

    match: ChainMatch
    handling: Handling


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboundListener:
    """A listener for connections from the workload to ``port`` of ``bind``, and of the addresses ``also``.

    What fits none of ``chains`` is handled as ``default`` says. ``binds``: applications connect to it; otherwise iptables do.
    """

    bind: str
    port: int
    binds: bool
    default: Handling
    chains: tuple[OutboundChain, ...] = ()
    also: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Return the listener's name."""
        return f"{self.bind}_{self.port}"

    @property
    def missing(self) -> MissingDestinations:
        """Return the destinations of its connections that are not there."""
        return NONE_MISSING.union(*(missing_of(handling) for handling in (self.default, *(chain.handling for chain in self.chains))))


def unclaimed(match: ChainMatch, claimed: set[tuple[str, str]]) -> Iterator[ChainMatch]:
    """Yield what is left of ``match`` after those that went before, and add it to ``claimed``: (server name, block) pairs.

    Envoy refuses a listener with two chains for the same.
    """
    names = (ANY,) if ANY in match.server_names else match.server_names or (ANY,)
    names_by_blocks: dict[tuple[str, ...], list[str]] = {}
    for name in dict.fromkeys(names):
        blocks = tuple(block for block in dict.fromkeys(match.subnets or (ANY,)) if (name, block) not in claimed)
        claimed.update((name, block) for block in blocks)
        if blocks:
            names_by_blocks.setdefault(blocks, []).append(name)
    for blocks, left in names_by_blocks.items():
        yield ChainMatch(server_names=() if left == [ANY] else tuple(left), subnets=() if blocks == (ANY,) else blocks)


@dataclass(frozen=True, slots=True, kw_only=True)
class InboundPort:
    """A port that a workload serves.

    ``endpoint`` is where the application listens, ``HOST:PORT`` or ``unix://PATH``; ``None`` is where the connection was going.
    ``transparent``: the application sees the address of the client, not the proxy's. ``families``: of the connections to it.
    """

    port: int
    protocol: Protocol
    service: Service | None
    service_port: int
    bind: str
    endpoint: str | None
    transparent: bool = False
    families: IpFamilies = IpFamilies.V4
    limits: TcpLimits = NO_LIMITS  # on connections that are sent on whole
    termination: Termination | None = None  # of the TLS of clients that are not of the mesh; without it they come in plaintext

    @property
    def cluster(self) -> str:
        """Return the name of the cluster that leads to the application, which its route has too."""
        return cluster_name(INBOUND, self.port, "", "")


@dataclass(frozen=True, slots=True)
class PortPolicy:
    """Who may connect. ``peer`` is whom a certificate has to name; ``None`` where the proxy has none of its own to show."""

    mode: MutualTLSMode = MutualTLSMode.PERMISSIVE
    peer: Peer | None = None


@dataclass(frozen=True, slots=True)
class ServedPort:
    """A port that a workload serves, and who may connect to it."""

    port: InboundPort
    policy: PortPolicy


@dataclass(frozen=True, slots=True)
class OtherPorts:
    """Who may connect to the ports that no service names; some of them are known by their number."""

    policy: PortPolicy
    by_port: tuple[tuple[int, PortPolicy], ...] = ()
