"""A proxy's resources with an access log everywhere, and a name for each chain and route, so that it shows what Envoy decided."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from envoy.config.accesslog.v3.accesslog_pb2 import AccessLog
from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.config.core.v3.address_pb2 import SocketAddress
from envoy.config.endpoint.v3.endpoint_pb2 import ClusterLoadAssignment
from envoy.config.listener.v3.listener_components_pb2 import FilterChain
from envoy.config.listener.v3.listener_pb2 import Listener
from envoy.config.route.v3.route_pb2 import RouteConfiguration
from envoy.extensions.access_loggers.file.v3.file_pb2 import FileAccessLog
from envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2 import HttpConnectionManager
from envoy.extensions.filters.network.tcp_proxy.v3.tcp_proxy_pb2 import TcpProxy
from envoy.extensions.network.dns_resolver.cares.v3.cares_dns_resolver_pb2 import CaresDnsResolverConfig
from google.protobuf.any_pb2 import Any as AnyMessage

from controlplane.envoy.packing import pack
from controlplane.envoy.type_urls import CDS, EDS, LDS, RDS
from controlplane.simulation.extensions import holds, unpacked
from controlplane.simulation.resources import ResourceMessage, Resources, resources_of
from controlplane.xds.view import View
from tests.support.simulation.inner import NAME_SERVER

_FORMAT = {
    "client": "%DOWNSTREAM_DIRECT_REMOTE_ADDRESS%",
    "chain": "%FILTER_CHAIN_NAME%",
    "cluster": "%UPSTREAM_CLUSTER_RAW%",
    "endpoint": "%UPSTREAM_HOST%",
    "route": "%ROUTE_NAME%",
    "status": "%RESPONSE_CODE%",
    "flags": "%RESPONSE_FLAGS%",
    "details": "%RESPONSE_CODE_DETAILS%",
    "termination": "%CONNECTION_TERMINATION_DETAILS%",
    "path": "%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%",
}
_TERMINAL: dict[type[TcpProxy | HttpConnectionManager], str] = {TcpProxy: "tcp", HttpConnectionManager: "http"}


def messages_of(view: View) -> list[ResourceMessage]:
    """Return the messages of ``view``."""
    made: list[ResourceMessage] = []
    made += [Listener.FromString(resource.value) for resource in view.resources(LDS)]
    made += [RouteConfiguration.FromString(resource.value) for resource in view.resources(RDS)]
    made += [Cluster.FromString(resource.value) for resource in view.resources(CDS)]
    made += [ClusterLoadAssignment.FromString(resource.value) for resource in view.resources(EDS)]
    return made


def instrumented(messages: Iterable[ResourceMessage], log: Path, version: int) -> Resources:
    """Return ``messages`` as resources whose every decision comes to ``log``, as of ``version``."""
    found = list(messages)
    for message in found:
        match message:
            case Listener():
                _log_connections(message, log, version)
            case RouteConfiguration():
                _name_routes(message)
            case Cluster():
                message.common_lb_config.update_merge_window.SetInParent()  # otherwise changes of health come to effect a second later
                _ask_own_name_server(message)
    return resources_of(found)


def packed(resources: Resources) -> dict[str, Mapping[str, AnyMessage]]:
    """Return ``resources`` as an Envoy is sent them, by type and name."""
    return {
        LDS: {each.name: pack(each) for each in resources.listeners},
        RDS: {name: pack(each) for name, each in resources.route_tables.items()},
        CDS: {name: pack(each) for name, each in resources.clusters.items()},
        EDS: {name: pack(each) for name, each in resources.endpoints.items()},
    }


def _log_connections(listener: Listener, log: Path, version: int) -> None:
    listener.access_log.append(_access_log(log, "listener", listener.name, version))
    chains = list(listener.filter_chains)
    if listener.HasField("default_filter_chain"):
        chains.append(listener.default_filter_chain)
    for index, chain in enumerate(chains):
        chain.name = f"{index} {_kind(chain)}"
        _log_chain(chain, listener.name, log, version)


def _kind(chain: FilterChain) -> str:
    """Return which access log tells of connections that get ``chain``, beside its listener's; nothing where TLS may fail first."""
    if chain.HasField("transport_socket"):
        return ""
    return next((kind for message, kind in _TERMINAL.items() for each in chain.filters if holds(each.typed_config, message)), "")


def _log_chain(chain: FilterChain, listener: str, log: Path, version: int) -> None:
    for each in chain.filters:
        for kind, label in _TERMINAL.items():
            config = unpacked(each.typed_config, kind)
            if config is not None:
                config.access_log.append(_access_log(log, label, listener, version))
                if isinstance(config, HttpConnectionManager) and config.HasField("route_config"):
                    _name_routes(config.route_config)
                each.typed_config.CopyFrom(pack(config))


def _name_routes(table: RouteConfiguration) -> None:
    for host in table.virtual_hosts:
        for index, route in enumerate(host.routes):
            route.name = f"{table.name}/{host.name}/{index}"


def _ask_own_name_server(cluster: Cluster) -> None:
    config = CaresDnsResolverConfig()
    if cluster.typed_dns_resolver_config.typed_config.Unpack(config):
        resolver = config.resolvers.add().socket_address
        resolver.address, resolver.port_value = NAME_SERVER
        resolver.protocol = SocketAddress.UDP
        config.query_timeout_seconds.value, config.query_tries.value = 5, 20  # the machine may be busy: that is no part of this
        cluster.typed_dns_resolver_config.typed_config.CopyFrom(pack(config))


def _access_log(log: Path, kind: str, listener: str, version: int) -> AccessLog:
    fields = {**_FORMAT, "kind": kind, "listener": listener, "version": str(version)}
    message = FileAccessLog(path=str(log))
    message.log_format.json_format.update(fields)
    return AccessLog(name="envoy.access_loggers.file", typed_config=pack(message))
