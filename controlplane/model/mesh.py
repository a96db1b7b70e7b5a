"""Settings of the mesh as a whole, from the ConfigMap ``istio``."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

# Annotations of the ConfigMap: what Istio lets namespaces do to each other, and MeshConfig has no field for.
SOCKET_ENDPOINTS, FOREIGN_ROUTES = TENANT_ANNOTATIONS = ("navarch.io/socket-endpoints", "navarch.io/foreign-routes")
ALLOW, REFUSE = "allow", "refuse"
METRIC_NAMES = "navarch.io/metric-names"  # annotation of the ConfigMap: how Istio's metrics are called on the pages of proxies
PLAIN, PREFIXED = METRIC_NAMINGS = ("plain", "prefixed")
MESH_ANNOTATIONS = (*TENANT_ANNOTATIONS, METRIC_NAMES)


class OutboundPolicy(StrEnum):
    """What becomes of traffic to destinations that no service is known for."""

    ALLOW_ANY = "ALLOW_ANY"
    REGISTRY_ONLY = "REGISTRY_ONLY"


class PathNormalization(StrEnum):
    """How paths are made comparable before anything is decided by them; each does what the one before it does, and more."""

    NONE = "NONE"
    BASE = "BASE"  # RFC 3986: no dots, no percent-encoding of what needs none, no backslashes
    MERGE_SLASHES = "MERGE_SLASHES"
    DECODE_AND_MERGE_SLASHES = "DECODE_AND_MERGE_SLASHES"  # %2F is a slash too


@dataclass(frozen=True, slots=True, kw_only=True)
class MeshSettings:
    """The subset of Istio's MeshConfig that is translated, with Istio's defaults."""

    outbound_policy: OutboundPolicy = OutboundPolicy.ALLOW_ANY
    http_proxy_port: int | None = None  # None: no `http_proxy` listener
    trust_domain: str = "cluster.local"
    trust_domain_aliases: tuple[str, ...] = ()
    root_namespace: str = "istio-system"
    paths: PathNormalization = PathNormalization.BASE
    connect_timeout_ms: int = 10_000
    detection_timeout_ms: int = 0  # how long a client may say nothing where its protocol is told by what it says; 0: as long as it likes
    upgrades: bool = False  # HTTP/1.1 goes on as HTTP/2 where nobody says otherwise
    socket_endpoints: bool = True  # endpoints may be sockets of the proxy's machine
    foreign_routes: bool = True  # VirtualServices hold for clients of other namespaces whatever host they name
    plain_metric_names: bool = True  # no envoy_wasmcustom_ stands before Istio's
    outbound_port: int = 15001
    inbound_port: int = 15006

    @property
    def trust_domains(self) -> tuple[str, ...]:
        """Return the trust domain of the mesh, and those that are taken for it."""
        return (self.trust_domain, *self.trust_domain_aliases)
