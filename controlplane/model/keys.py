"""Names of things users write: which object, and of which kind."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from operator import attrgetter
from typing import NamedTuple

NETWORKING = "networking.istio.io"
SECURITY = "security.istio.io"
TELEMETRY = "telemetry.istio.io"
EXTENSIONS = "extensions.istio.io"
GATEWAY_API = "gateway.networking.k8s.io"
NAVARCH = "navarch.dev"  # of kinds of our own
CONFIGURATION_GROUPS = (NETWORKING, SECURITY, TELEMETRY, EXTENSIONS, GATEWAY_API, NAVARCH)  # all of whose kinds say something to a mesh


@dataclass(frozen=True, slots=True, order=True)
class Key:
    """One object of the user: kind, namespace (empty for cluster-scoped kinds), name, and the kind's API group (empty: the core)."""

    kind: str
    namespace: str
    name: str
    group: str = ""

    @property
    def group_kind(self) -> GroupKind:
        """Return the kind with its group."""
        return GroupKind(self.group, self.kind)

    def __str__(self) -> str:
        """Return ``Kind/namespace/name``, as ``navarch validate`` prints it."""
        return f"{self.kind}/{self.namespace}/{self.name}"


def in_key_order(keys: Iterable[Key]) -> tuple[Key, ...]:
    """Return ``keys``, sorted: ten times as quickly as by comparing two keys at a time."""
    return tuple(sorted(keys, key=attrgetter("kind", "namespace", "name", "group")))


class KnownKeys:
    """A set of keys that is asked for in order more often than it changes."""

    def __init__(self) -> None:
        """Begin with none."""
        self.all: set[Key] = set()
        self._in_order: tuple[Key, ...] | None = ()  # None: to be sorted anew

    def update(self, there: AbstractSet[Key], gone: AbstractSet[Key]) -> None:
        """Take the keys ``there`` in, and those ``gone`` out."""
        if not there <= self.all or not gone.isdisjoint(self.all):
            self.all |= there
            self.all -= gone
            self._in_order = None

    def in_order(self) -> tuple[Key, ...]:
        """Return them, sorted."""
        if self._in_order is None:
            self._in_order = in_key_order(self.all)
        return self._in_order


class GroupKind(NamedTuple):
    """A kind in its API group: two groups may have kinds of one name, as Istio's and Kubernetes' Gateways."""

    group: str
    kind: str

    def key(self, namespace: str, name: str) -> Key:
        """Return the key of the object ``name`` of this kind in ``namespace``."""
        return Key(self.kind, namespace, name, self.group)


# The group of each kind that is read, and of the one kind that is not and that policies are for.
CONFIG_MAP = GroupKind("", "ConfigMap")
NAMESPACE = GroupKind("", "Namespace")
NODE = GroupKind("", "Node")
POD = GroupKind("", "Pod")
SECRET = GroupKind("", "Secret")
SERVICE = GroupKind("", "Service")
SERVICE_ACCOUNT = GroupKind("", "ServiceAccount")

ENDPOINT_SLICE = GroupKind("discovery.k8s.io", "EndpointSlice")

KUBERNETES_GATEWAY = GroupKind(GATEWAY_API, "Gateway")

DESTINATION_RULE = GroupKind(NETWORKING, "DestinationRule")
ENVOY_FILTER = GroupKind(NETWORKING, "EnvoyFilter")
GATEWAY = GroupKind(NETWORKING, "Gateway")
PROXY_CONFIG_KIND = GroupKind(NETWORKING, "ProxyConfig")
SERVICE_ENTRY = GroupKind(NETWORKING, "ServiceEntry")
SIDECAR = GroupKind(NETWORKING, "Sidecar")
VIRTUAL_SERVICE = GroupKind(NETWORKING, "VirtualService")
WORKLOAD_ENTRY = GroupKind(NETWORKING, "WorkloadEntry")
WORKLOAD_GROUP = GroupKind(NETWORKING, "WorkloadGroup")

ENDPOINT_KINDS = frozenset((ENDPOINT_SLICE, POD, WORKLOAD_ENTRY))  # where the instances of services are

AUTHORIZATION_POLICY = GroupKind(SECURITY, "AuthorizationPolicy")
PEER_AUTHENTICATION = GroupKind(SECURITY, "PeerAuthentication")
REQUEST_AUTHENTICATION = GroupKind(SECURITY, "RequestAuthentication")

DRILL = GroupKind(NAVARCH, "Drill")
RATE_LIMIT = GroupKind(NAVARCH, "RateLimit")

TELEMETRY_KIND = GroupKind(TELEMETRY, "Telemetry")

TRAFFIC_EXTENSION = GroupKind(EXTENSIONS, "TrafficExtension")
WASM_PLUGIN = GroupKind(EXTENSIONS, "WasmPlugin")
