"""Clusters: what a proxy connects to, how an endpoint is chosen, and what is held to on the way there."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto

from controlplane.ir.actions import HashKey
from controlplane.ir.tls import MeshTls, OriginatedTls, Peer, PlainUpstream
from controlplane.model.services import Endpoint, Resolution, ServicePort


class Algorithm(Enum):
    """How an endpoint is chosen without looking at the request."""

    ROUND_ROBIN = auto()
    RANDOM = auto()
    LEAST_REQUEST = auto()


@dataclass(frozen=True, slots=True)
class RingTable:
    """Hashes find their endpoints on a ring of at least ``minimum_size`` places; 0: as many as Istio's."""

    minimum_size: int = 0


@dataclass(frozen=True, slots=True)
class MaglevTable:
    """Hashes find their endpoints in a Maglev table of ``size`` places; 0: as many as Envoy's."""

    size: int = 0


@dataclass(frozen=True, slots=True)
class ConsistentHash:
    """Requests that are equal by ``key`` go to the same endpoint. Routes say the key to Envoy, the cluster says the ``table``."""

    key: HashKey
    table: RingTable | MaglevTable = RingTable()


@dataclass(frozen=True, slots=True)
class OriginalDestination:
    """A connection goes to where it was going: nothing is chosen."""


LoadBalancing = Algorithm | ConsistentHash | OriginalDestination


@dataclass(frozen=True, slots=True)
class KeepAlive:
    """TCP probes on idle connections; what is ``None`` is left to the operating system."""

    probes: int | None = None
    after_ms: int | None = None
    interval_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Ping:
    """HTTP/2 pings every ``interval_ms``; a connection that does not answer within ``timeout_ms`` is given up."""

    interval_ms: int
    timeout_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionPool:
    """Limits on connections and requests; 0 and ``None`` are none, or Envoy's."""

    max_connections: int = 0
    max_pending_requests: int = 0
    max_requests: int = 0
    max_retries: int = 0
    max_requests_per_connection: int = 0
    max_concurrent_streams: int = 0
    connect_timeout_ms: int | None = None
    idle_timeout_ms: int | None = None  # of HTTP
    tcp_idle_timeout_ms: int | None = None  # of connections that are sent on whole, and of HTTP where it has none of its own; 0: never
    max_connection_duration_ms: int | None = None
    keep_alive: KeepAlive | None = None
    ping: Ping | None = None
    upgrade: bool | None = None  # HTTP/1.1 is sent on as HTTP/2; None: as the mesh has it
    use_client_protocol: bool = False


NO_LIMITS = ConnectionPool()


@dataclass(frozen=True, slots=True, kw_only=True)
class OutlierEjection:
    """When an endpoint that fails is left out, and for how long; ``None`` is Envoy's default, 0 failures are never looked at."""

    consecutive_5xx: int | None = None
    consecutive_gateway_failures: int | None = None
    consecutive_local_origin_failures: int | None = None
    split_local_origin: bool = False
    interval_ms: int | None = None
    base_time_ms: int | None = None
    max_percent: int = 0
    min_healthy_percent: int = 0  # below it nobody is left out


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterPolicy:
    """What users ask of a cluster; as it is without arguments, nothing."""

    load_balancing: LoadBalancing | None = None
    pool: ConnectionPool = NO_LIMITS
    outliers: OutlierEjection | None = None
    tls: PlainUpstream | MeshTls | OriginatedTls | None = None  # None: as the proxy does by itself


NO_POLICY = ClusterPolicy()


@dataclass(frozen=True, slots=True)
class UpstreamPeer:
    """Who is at the other end of a cluster, for a proxy that has a certificate of its own."""

    peer: Peer
    server_name: str
    automatic: bool  # endpoints that say so are spoken to by mutual TLS without anybody asking for it
    everywhere: bool = False  # all endpoints say so, as is for those to know that choose none


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboundCluster:
    """A port of a service, perhaps a subset of its endpoints, with the policy that applies."""

    name: str
    host: str
    namespace: str
    service: str
    port: ServicePort
    subset: str
    resolution: Resolution
    policy: ClusterPolicy
    rule: str  # the path of the DestinationRule, or empty
    endpoints: tuple[Endpoint, ...]  # only where Envoy resolves names itself
    connect_timeout_ms: int
    peer: UpstreamPeer | None = None  # None: whoever has this cluster has no certificate
    by_address: bool = False  # clients choose an endpoint themselves; who does not is given any
    named: bool = False  # who has it counts by the names of its service, and of the workloads of its endpoints
