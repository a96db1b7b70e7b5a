"""Proxies that ask for configuration, as their node ids and metadata describe them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Address, ip_address

from controlplane.errors import PeerError
from controlplane.model.envoy_versions import EnvoyVersion
from controlplane.model.identity import Identity
from controlplane.model.services import Labels

# The annotations of a pod that are settings of its proxy: Istio's, and one of our own.
PROXY_CONFIG, MAX_REQUEST_HEADERS_KB = ANNOTATIONS = ("proxy.istio.io/config", "navarch.io/max-request-headers-kb")
PROXY_CONTAINER = "istio-proxy"  # of a pod, as Istio calls it
IGNORED_NAMESPACES = frozenset(
    ("kube-system", "kube-public", "kube-node-lease", "local-path-storage", "navarch-system")
)  # no proxies there
_PARTS = 4  # type~ip~id~domain
# The metadata by which a proxy tells re2.max_program_size.error_level of its runtime, and what an Envoy takes where nothing is set there.
# https://www.envoyproxy.io/docs/envoy/v1.40.0/configuration/operations/runtime
EXPRESSION_LIMIT = "RE2_MAX_PROGRAM_SIZE"
DEFAULT_EXPRESSION_LIMIT = 100  # instructions
# What is read of a node's metadata.
METADATA = (
    "NAMESPACE",
    "SERVICE_ACCOUNT",
    "INTERCEPTION_MODE",
    "INSTANCE_IPS",
    "LABELS",
    "ANNOTATIONS",
    "AUTO_REGISTER_GROUP",
    "WORKLOAD_NAME",
    "CLUSTER_ID",
    EXPRESSION_LIMIT,
)
_DIGITS = 10
_SHORT, _MOST_TEXTS = 256, 64  # of a node's metadata: characters of a name and its text, and how many are looked at


class ProxyType(StrEnum):
    """What kind of client a node id names."""

    SIDECAR = "sidecar"
    ROUTER = "router"
    RATE_LIMIT_SERVICE = "ratelimit"  # no proxy: Envoy's rate limit service, which asks for what it is to count


TPROXY_MARK = 1337  # of packets that belong to a proxy's transparent sockets: its rules of iptables and its sockets have to agree


class Interception(StrEnum):
    """How connections get to the proxy."""

    REDIRECT = "REDIRECT"
    TPROXY = "TPROXY"
    NONE = "NONE"  # no iptables: applications name the proxy's own listeners


class IpFamilies(StrEnum):
    """By which kinds of addresses others reach the proxy, and its application reaches others."""

    V4 = "IPv4"
    V6 = "IPv6"
    BOTH = "IPv4 and IPv6"

    def includes(self, address: str) -> bool:
        """Return whether connections to ``address`` are of one of these families."""
        return self is IpFamilies.BOTH or (":" in address) is (self is IpFamilies.V6)


class BadNode(PeerError, ValueError):
    """A node id or metadata that is not what Istio's proxies send; the message says what was expected."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Proxy:
    """One proxy: what its configuration depends on, and nothing else of its node."""

    id: str  # the whole node id
    type: ProxyType
    ips: tuple[str, ...]
    name: str  # of its pod or workload
    namespace: str
    dns_domain: str  # "<namespace>.svc.cluster.local"
    labels: Labels | None  # None: not in the metadata, take them from the Pod
    families: IpFamilies | None = None  # None: not in the metadata, take them from the Pod
    interception: Interception = Interception.REDIRECT
    annotations: Labels = ()  # of its pod, as its metadata have them
    locality: str = ""
    identity: Identity | None = None  # None: its stream is plaintext, where proxies do not authenticate
    group: str = ""  # the WorkloadGroup by which it registers itself
    workload: str = ""  # that it is a part of, as its node says: by it a proxy names itself, and nobody else believes it
    cluster_id: str = ""
    service: str = ""  # what its node says that it serves (``cluster``), by which traces call it
    expression_limit: int = DEFAULT_EXPRESSION_LIMIT  # the most instructions of a regular expression that it takes
    metadata: Labels = ()  # the texts among its node's metadata, as far as they are short
    envoy: EnvoyVersion | None = None  # None: its node does not say which Envoy it is
    lacking: frozenset[str] = frozenset()  # extensions of Envoy that we could send and its build has not, by name

    @property
    def is_envoy(self) -> bool:
        """Return whether it carries traffic, and is not a service beside those that do."""
        return self.type is not ProxyType.RATE_LIMIT_SERVICE


def proxy_from_node(node_id: str, metadata: Mapping[str, object], locality: str = "") -> Proxy:
    """Return the Proxy that ``node_id`` (``sidecar~IP~POD.NAMESPACE~DOMAIN``) and ``metadata`` (Istio's keys) describe.

    Raises BadNode, with what was expected.
    """
    parts = node_id.split("~")
    if len(parts) != _PARTS or parts[0] not in {kind.value for kind in ProxyType}:
        expected = "sidecar~IP~POD.NAMESPACE~NAMESPACE.svc.cluster.local"
        raise BadNode(f"node id {node_id[:200]!r}: expected {expected}")
    kind, ip, name, domain = parts
    pod, _, pod_namespace = name.rpartition(".")
    namespace = _text(metadata, "NAMESPACE") or pod_namespace
    if not namespace:
        raise BadNode(f"node id {node_id[:200]!r}: expected a namespace after the last dot of {name[:200]!r}, or metadata NAMESPACE")
    mode = _text(metadata, "INTERCEPTION_MODE") or Interception.REDIRECT.value
    if mode not in {option.value for option in Interception}:
        raise BadNode(f"metadata INTERCEPTION_MODE {mode[:40]!r}: expected REDIRECT, TPROXY or NONE")
    instance_ips = _text(metadata, "INSTANCE_IPS") or ""
    ips = tuple(dict.fromkeys(address for address in (ip, *instance_ips.split(",")) if address))
    return Proxy(
        id=node_id,
        type=ProxyType(kind),
        ips=ips,
        name=pod or name,
        namespace=namespace,
        dns_domain=domain or f"{namespace}.svc.cluster.local",
        labels=_labels(metadata.get("LABELS")),
        families=ip_families(ips) if instance_ips else None,
        interception=Interception(mode),
        annotations=_annotations(metadata.get("ANNOTATIONS")),
        locality=locality,
        group=_text(metadata, "AUTO_REGISTER_GROUP") or "",
        workload=_text(metadata, "WORKLOAD_NAME") or "",
        cluster_id=_text(metadata, "CLUSTER_ID") or "",
        expression_limit=_expression_limit(metadata.get(EXPRESSION_LIMIT)),
        metadata=_short_texts(metadata),
    )


def ip_families(addresses: Iterable[str]) -> IpFamilies:
    """Return the families of ``addresses``; those that are no address, or of no use beyond a link or this machine, do not count."""
    families = set()
    for text in addresses:
        try:
            address = ip_address(text)
        except ValueError:
            continue
        if not address.is_loopback and not address.is_link_local:
            families.add(IpFamilies.V4 if isinstance(address, IPv4Address) else IpFamilies.V6)
    return IpFamilies.BOTH if len(families) > 1 else next(iter(families), IpFamilies.V4)


def _text(metadata: Mapping[str, object], name: str) -> str | None:
    value = metadata.get(name)
    if value is None or isinstance(value, str):
        return value
    raise BadNode(f"metadata {name}: expected a string")


def _short_texts(metadata: Mapping[str, object]) -> Labels:
    texts = sorted((name, value) for name, value in metadata.items() if isinstance(value, str) and len(name) + len(value) <= _SHORT)
    return tuple(texts[:_MOST_TEXTS])


def _expression_limit(value: object) -> int:
    """Return the limit ``value``, a whole number, which JSON may have as a fraction and a bootstrap as a text."""
    if value is None:
        return DEFAULT_EXPRESSION_LIMIT
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    text = str(value)
    if isinstance(value, bool) or not (text.isascii() and text.isdecimal() and len(text) <= _DIGITS):
        raise BadNode(f"metadata {EXPRESSION_LIMIT}: expected a whole number")
    return int(text)


def _annotations(value: object) -> Labels:
    """Return those of the annotations ``value`` that say something of the proxy: others may be long, and make equal proxies differ."""
    given = value.items() if isinstance(value, Mapping) else ()
    return tuple(sorted((name, text) for name, text in given if name in ANNOTATIONS and isinstance(text, str)))


def _labels(value: object) -> Labels | None:
    if value is None:
        return None
    if isinstance(value, Mapping) and all(isinstance(k, str) and isinstance(v, str) for k, v in value.items()):
        return tuple(sorted(value.items()))
    raise BadNode("metadata LABELS: expected an object of strings")
