"""What a sidecar listens on: for connections from the workload, and for those to it."""

from __future__ import annotations

from dataclasses import dataclass

from controlplane.ir.tls import Peer
from controlplane.model.cluster_names import INBOUND, cluster_name
from controlplane.model.mesh import PathNormalization
from controlplane.model.peer_authentication import MutualTLSMode
from controlplane.model.protocols import Protocol
from controlplane.model.proxies import IpFamilies
from controlplane.model.services import Service


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionSettings:
    """What holds for every connection and request that a proxy handles, whichever listener takes it."""

    paths: PathNormalization = PathNormalization.BASE  # before anything is decided by them


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


@dataclass(frozen=True, slots=True, kw_only=True)
class TcpChain:
    """Where whole connections go: all of them, or those to the block ``cidr``."""

    cluster: str
    cidr: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboundListener:
    """A listener for connections from the workload to ``port`` of ``bind``, and of the addresses ``also``.

    With ``route`` requests are routed by that RouteConfiguration. With ``chains`` whole connections are sent on. With both, HTTP is told
    from the rest by its first bytes. ``binds``: applications connect to it; otherwise iptables do.
    """

    bind: str
    port: int
    binds: bool
    route: str = ""
    chains: tuple[TcpChain, ...] = ()
    also: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Return the listener's name."""
        return f"{self.bind}_{self.port}"


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
