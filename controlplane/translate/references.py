"""What a message refers to by name: what has to be there before it, and stay as long as it does."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from envoy.config.accesslog.v3.accesslog_pb2 import AccessLog
from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.config.core.v3.extension_pb2 import TypedExtensionConfig
from envoy.config.listener.v3.listener_components_pb2 import Filter
from envoy.config.listener.v3.listener_pb2 import Listener
from envoy.config.route.v3.route_components_pb2 import Route, VirtualHost
from envoy.config.route.v3.route_pb2 import RouteConfiguration
from envoy.extensions.filters.http.ext_authz.v3.ext_authz_pb2 import ExtAuthz
from envoy.extensions.filters.http.ratelimit.v3.rate_limit_pb2 import RateLimit
from envoy.extensions.filters.http.wasm.v3.wasm_pb2 import Wasm
from envoy.extensions.filters.network.ext_authz.v3 import ext_authz_pb2 as network_ext_authz_pb2
from envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2 import HttpConnectionManager, HttpFilter
from envoy.extensions.filters.network.tcp_proxy.v3.tcp_proxy_pb2 import TcpProxy
from envoy.extensions.filters.network.wasm.v3.wasm_pb2 import Wasm as NetworkWasm
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.message import Message

from controlplane.envoy.packing import TYPED_STRUCT
from controlplane.envoy.type_urls import CDS, ECDS, EDS, PREFIX, RDS
from controlplane.translate.filters.ext_authz import NAME as EXT_AUTHZ
from controlplane.translate.filters.network import EXT_AUTHZ as EXT_AUTHZ_OF_CONNECTIONS
from controlplane.translate.filters.rate_limits.filters import RATELIMIT, rate_limit_of
from controlplane.translate.listeners.network_filters import HTTP_MANAGER, TCP_PROXY
from controlplane.translate.telemetry.access_logs import log_cluster
from controlplane.translate.telemetry.tracing import trace_cluster

Reference = tuple[str, str]  # (type URL, name)


def references(message: Message) -> tuple[Reference, ...]:
    """Return the (type URL, name)s that ``message`` refers to, sorted."""
    match message:
        case Cluster():
            named: Iterable[Reference] = [(EDS, message.eds_cluster_config.service_name)] if message.type == Cluster.EDS else []
        case VirtualHost():
            named = _of_routes(message.routes)
        case RouteConfiguration():
            named = _of_hosts(message)
        case Listener():
            named = _of_listener(message)
        case TypedExtensionConfig():
            named = _of_extension(message)
        case _:
            named = ()
    return tuple(sorted(set(named)))


def _of_extension(message: TypedExtensionConfig) -> Iterator[Reference]:
    for kind in (Wasm, NetworkWasm):
        if _holds(message.typed_config, kind):
            cluster = kind.FromString(message.typed_config.value).config.vm_config.code.remote.http_uri.cluster
            if cluster:
                yield CDS, cluster


def _of_hosts(message: RouteConfiguration) -> Iterator[Reference]:
    for host in message.virtual_hosts:
        yield from _of_routes(host.routes)


def _of_routes(routes: Iterable[Route]) -> Iterator[Reference]:
    for route in routes:
        if not route.HasField("route"):
            continue
        if route.route.cluster:
            yield CDS, route.route.cluster
        for weighted in route.route.weighted_clusters.clusters:
            yield CDS, weighted.name
        for mirror in route.route.request_mirror_policies:
            yield CDS, mirror.cluster


def _of_listener(message: Listener) -> Iterator[Reference]:
    yield from _of_logs(message.access_log)
    for chain in (*message.filter_chains, message.default_filter_chain):
        for network_filter in chain.filters:
            yield from _of_filter(network_filter)


def _of_filter(network_filter: Filter) -> Iterator[Reference]:
    if network_filter.HasField("config_discovery"):
        yield ECDS, network_filter.name
    if network_filter.name == TCP_PROXY and _holds(network_filter.typed_config, TcpProxy):
        proxy = TcpProxy.FromString(network_filter.typed_config.value)
        if proxy.cluster:
            yield CDS, proxy.cluster
        yield from _of_logs(proxy.access_log)
        for weighted in proxy.weighted_clusters.clusters:
            yield CDS, weighted.name
    elif network_filter.name == EXT_AUTHZ_OF_CONNECTIONS and _holds(network_filter.typed_config, network_ext_authz_pb2.ExtAuthz):
        yield CDS, network_ext_authz_pb2.ExtAuthz.FromString(network_filter.typed_config.value).grpc_service.envoy_grpc.cluster_name
    elif network_filter.name == HTTP_MANAGER and _holds(network_filter.typed_config, HttpConnectionManager):
        manager = HttpConnectionManager.FromString(network_filter.typed_config.value)
        if manager.HasField("rds"):
            yield RDS, manager.rds.route_config_name
        yield from _of_hosts(manager.route_config)
        yield from _of_logs(manager.access_log)
        if cluster := trace_cluster(manager):
            yield CDS, cluster
        yield from ((ECDS, asking.name) for asking in manager.http_filters if asking.HasField("config_discovery"))
        for asking in manager.http_filters:
            yield from _of_http_filter(asking)


def _of_http_filter(http_filter: HttpFilter) -> Iterator[Reference]:
    config = http_filter.typed_config
    if http_filter.name == RATELIMIT.name and (_holds(config, RateLimit) or config.type_url == TYPED_STRUCT):
        yield CDS, rate_limit_of(config).rate_limit_service.grpc_service.envoy_grpc.cluster_name
    elif http_filter.name == EXT_AUTHZ and _holds(config, ExtAuthz):
        authorization = ExtAuthz.FromString(config.value)
        yield CDS, authorization.grpc_service.envoy_grpc.cluster_name or authorization.http_service.server_uri.cluster


def _of_logs(logs: Iterable[AccessLog]) -> Iterator[Reference]:
    for log in logs:
        if cluster := log_cluster(log):
            yield CDS, cluster


def _holds(config: AnyMessage, kind: type[Message]) -> bool:
    """Return whether ``config`` is of ``kind``: a patch may have put another filter under one of our names."""
    return config.type_url == PREFIX + kind.DESCRIPTOR.full_name
