"""What a gateway listens on, for connections from outside of the mesh."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto

from controlplane.ir.listeners import EVERY_CONNECTION, ChainMatch, HttpRouting, TcpForwarding, missing_of
from controlplane.ir.tls import Termination
from controlplane.model.deferrals import NONE_MISSING, MissingDestinations

_ANYWHERE = "0.0.0.0"


class ForwardedCertificate(Enum):
    """What becomes of the header by which a proxy tells the certificate of its client (``X-Forwarded-Client-Cert``)."""

    DEFAULT = auto()  # it is removed; where clients are asked for a certificate, theirs takes its place
    SANITIZE = auto()
    FORWARD_ONLY = auto()
    APPEND_FORWARD = auto()
    SANITIZE_SET = auto()
    ALWAYS_FORWARD_ONLY = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class Topology:
    """What stands before a gateway, and what is believed of it."""

    trusted_proxies: int = 0  # how many addresses at the end of X-Forwarded-For are of proxies that are trusted
    client_certificate: ForwardedCertificate = ForwardedCertificate.DEFAULT
    proxy_protocol: bool = False  # connections begin with it


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayChain:
    """One kind of connection that a gateway takes, and what becomes of it: requests are routed, or all of it is sent on.

    ``passes_peers``: it is mutual TLS of the mesh and goes on as such; where it ends, policies are kept.
    """

    match: ChainMatch = EVERY_CONNECTION
    termination: Termination | None = None
    handling: HttpRouting | TcpForwarding
    stat_prefix: str = ""  # of what Envoy counts of its requests; empty: by the listener
    passes_peers: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayListener:
    """A port of a gateway."""

    bind: str  # empty: every address
    port: int
    chains: tuple[GatewayChain, ...]
    topology: Topology

    @property
    def name(self) -> str:
        """Return the listener's name."""
        return f"{self.bind or _ANYWHERE}_{self.port}"

    @property
    def missing(self) -> MissingDestinations:
        """Return the destinations of its connections that are not there."""
        return NONE_MISSING.union(*(missing_of(chain.handling) for chain in self.chains))
