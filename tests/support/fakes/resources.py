"""Small real Envoy resources whose content is one number, their revision, so that a test can say ``{"a": 1}``."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.config.core.v3.extension_pb2 import TypedExtensionConfig
from envoy.config.endpoint.v3.endpoint_pb2 import ClusterLoadAssignment
from envoy.config.listener.v3.listener_pb2 import Listener
from envoy.config.route.v3.route_components_pb2 import VirtualHost
from envoy.config.route.v3.route_pb2 import RouteConfiguration
from envoy.extensions.transport_sockets.tls.v3.secret_pb2 import Secret
from google.protobuf.message import Message

from controlplane.envoy.ratelimit_config_pb2 import RateLimitConfig
from controlplane.envoy.type_urls import CDS, ECDS, EDS, LDS, RATE_LIMIT_CONFIG, RDS, SDS, VHDS
from controlplane.xds.resource import Resource, resource


def cluster(name: str, revision: int = 1, *, endpoints: str | None = None) -> Resource:
    """Return an EDS cluster; its load assignment has its own name unless ``endpoints`` says otherwise."""
    message = Cluster(name=name, type=Cluster.EDS)
    message.connect_timeout.seconds = revision
    return _resource(CDS, name, message, [(EDS, endpoints or name)])


def endpoints(name: str, revision: int = 1) -> Resource:
    """Return a load assignment."""
    message = ClusterLoadAssignment(cluster_name=name)
    message.policy.overprovisioning_factor.value = revision
    return _resource(EDS, name, message)


def listener(name: str, revision: int = 1, *, routes: Iterable[str] = (), clusters: Iterable[str] = ()) -> Resource:
    """Return a listener that uses ``routes`` and, as a TCP proxy does, ``clusters``."""
    message = Listener(name=name)
    message.tcp_backlog_size.value = revision
    return _resource(LDS, name, message, [(RDS, each) for each in routes] + [(CDS, each) for each in clusters])


def routes(name: str, revision: int = 1, *, clusters: Iterable[str] = ()) -> Resource:
    """Return a route configuration that uses ``clusters``."""
    message = RouteConfiguration(name=name)
    message.max_direct_response_body_size_bytes.value = revision
    return _resource(RDS, name, message, [(CDS, each) for each in clusters])


def host(name: str, revision: int = 1, *, clusters: Iterable[str] = (), domains: Iterable[str] = ()) -> Resource:
    """Return a virtual host, named ``<route configuration>/<host>``, with ``domains`` of its own."""
    hosts = frozenset(domains) or frozenset({name})
    message = VirtualHost(name=name, domains=sorted(hosts))
    message.per_request_buffer_limit_bytes.value = revision
    return _resource(VHDS, name, message, [(CDS, each) for each in clusters], hosts)


def secret(name: str, revision: int = 1) -> Resource:
    """Return a secret."""
    message = Secret(name=name)
    message.generic_secret.secret.inline_string = str(revision)
    return _resource(SDS, name, message)


def extension(name: str, revision: int = 1) -> Resource:
    """Return what an extension does."""
    return _resource(ECDS, name, TypedExtensionConfig(name=name, typed_config={"type_url": "revision", "value": str(revision).encode()}))


def rate_limits(name: str, revision: int = 1) -> Resource:
    """Return a domain of Envoy's rate limit service."""
    return _resource(RATE_LIMIT_CONFIG, name, RateLimitConfig(name=name, domain=str(revision)))


def read(type_url: str, value: bytes) -> tuple[str, int]:
    """Return the name and the revision of the resource of ``type_url`` that is encoded as ``value``."""
    return _READERS[type_url](value)


def _resource(
    type_url: str, name: str, message: Message, uses: Iterable[tuple[str, str]] = (), exclusive: frozenset[str] = frozenset()
) -> Resource:
    return resource(type_url, name, message.SerializeToString(deterministic=True), uses=tuple(sorted(uses)), exclusive=exclusive)


def _extension(value: bytes) -> tuple[str, int]:
    message = TypedExtensionConfig.FromString(value)
    return message.name, int(message.typed_config.value)


def _cluster(value: bytes) -> tuple[str, int]:
    message = Cluster.FromString(value)
    return message.name, message.connect_timeout.seconds


def _endpoints(value: bytes) -> tuple[str, int]:
    message = ClusterLoadAssignment.FromString(value)
    return message.cluster_name, message.policy.overprovisioning_factor.value


def _listener(value: bytes) -> tuple[str, int]:
    message = Listener.FromString(value)
    return message.name, message.tcp_backlog_size.value


def _routes(value: bytes) -> tuple[str, int]:
    message = RouteConfiguration.FromString(value)
    return message.name, message.max_direct_response_body_size_bytes.value


def _host(value: bytes) -> tuple[str, int]:
    message = VirtualHost.FromString(value)
    return message.name, message.per_request_buffer_limit_bytes.value


def _secret(value: bytes) -> tuple[str, int]:
    message = Secret.FromString(value)
    return message.name, int(message.generic_secret.secret.inline_string)


def _rate_limits(value: bytes) -> tuple[str, int]:
    message = RateLimitConfig.FromString(value)
    return message.name, int(message.domain)


_READERS: dict[str, Callable[[bytes], tuple[str, int]]] = {
    CDS: _cluster,
    ECDS: _extension,
    EDS: _endpoints,
    LDS: _listener,
    RDS: _routes,
    VHDS: _host,
    SDS: _secret,
    RATE_LIMIT_CONFIG: _rate_limits,
}
