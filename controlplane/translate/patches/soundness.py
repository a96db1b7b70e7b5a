"""What Envoy refuses in a whole message though each field is as it should be: it is looked for after each patch, before anything leaves."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from ipaddress import ip_address

from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.config.listener.v3.listener_components_pb2 import FilterChain
from envoy.config.listener.v3.listener_pb2 import Listener
from envoy.config.route.v3.route_components_pb2 import VirtualHost
from envoy.config.route.v3.route_pb2 import RouteConfiguration
from envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2 import HttpConnectionManager
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.message import Message

from controlplane.envoy.constraints import violations
from controlplane.envoy.packing import encode
from controlplane.envoy.patching.message_types import TYPED_STRUCTS, type_name

MANAGER_TYPE = HttpConnectionManager.DESCRIPTOR.full_name
_NETWORK = "envoy.extensions.filters.network."
# Network filters after which no other can come, and one of which every chain ends with.
_LAST = frozenset(
    f"{_NETWORK}{name}"
    for name in (
        "http_connection_manager.v3.HttpConnectionManager",
        "tcp_proxy.v3.TcpProxy",
        "redis_proxy.v3.RedisProxy",
        "thrift_proxy.v3.ThriftProxy",
        "dubbo_proxy.v3.DubboProxy",
        "generic_proxy.v3.GenericProxy",
        "echo.v3.Echo",
        "direct_response.v3.Config",
    )
)
_ROUTER = "envoy.extensions.filters.http.router.v3.Router"


def why_refused(message: Message) -> str | None:
    """Return why Envoy would refuse ``message``, ``None`` where nothing speaks against it."""
    if broken := violations(message):
        return f"Envoy would refuse the result: {broken[0]}"
    match message:
        case Listener():
            found = _of_listener(message)
        case Cluster():
            found = _of_cluster(message)
        case RouteConfiguration():
            found = of_hosts(message.virtual_hosts)
        case _:
            return None
    return next((f"Envoy would refuse the result: {reason}" for reason in found), None)


def of_hosts(hosts: Iterable[VirtualHost]) -> Iterator[str]:
    """Yield what is wrong among ``hosts``, which stand in one route configuration."""
    names: Counter[str] = Counter()
    domains: Counter[str] = Counter()
    for host in hosts:
        names[host.name] += 1
        domains.update(domain.lower() for domain in host.domains)
    yield from (f"two virtual hosts are called {name}" for name, count in names.items() if count > 1)
    yield from (f"the domain {domain} is in two places" for domain, count in domains.items() if count > 1)


def _of_listener(listener: Listener) -> Iterator[str]:
    if not listener.HasField("address") and not listener.WhichOneof("listener_specifier"):
        yield "a listener has an address"
    if not listener.filter_chains and not listener.HasField("default_filter_chain") and not listener.listener_filters:
        yield "a listener has a filter chain"
    matches = Counter(encode(chain.filter_chain_match) for chain in listener.filter_chains)
    if any(count > 1 for count in matches.values()) and not listener.HasField("filter_chain_matcher"):
        yield "two filter chains are for the same connections"
    for chain in (*listener.filter_chains, listener.default_filter_chain):
        yield from _of_chain(chain)


def _of_chain(chain: FilterChain) -> Iterator[str]:
    kinds = [(each.name, _kind(each.typed_config)) for each in chain.filters]
    place = f"chain {chain.name}: " if chain.name else ""
    yield from (f"{place}no filter can come after {name}" for name, kind in kinds[:-1] if kind in _LAST)
    if kinds and _ends_nothing(kinds[-1][1], _LAST):
        yield f"{place}the last filter, {kinds[-1][0]}, sends connections nowhere: it has to come before another"
    for each in chain.filters:
        if _kind(each.typed_config) == MANAGER_TYPE:
            yield from (f"{place}{reason}" for reason in _of_manager(HttpConnectionManager.FromString(each.typed_config.value)))


def _of_manager(manager: HttpConnectionManager) -> Iterator[str]:
    kinds = [(each.name, _kind(each.typed_config)) for each in manager.http_filters]
    yield from (f"no HTTP filter can come after {name}" for name, kind in kinds[:-1] if kind == _ROUTER)
    if not kinds:
        yield "there is no HTTP filter left"
    elif not manager.http_filters[-1].HasField("config_discovery") and _ends_nothing(kinds[-1][1], frozenset((_ROUTER,))):
        yield f"the last HTTP filter, {kinds[-1][0]}, sends requests nowhere: it has to come before the router"
    if manager.HasField("route_config"):
        yield from of_hosts(manager.route_config.virtual_hosts)


def _ends_nothing(kind: str, last: frozenset[str]) -> bool:
    return kind not in last and kind not in TYPED_STRUCTS


def _kind(config: AnyMessage) -> str:
    return type_name(config.type_url)


def _of_cluster(cluster: Cluster) -> Iterator[str]:
    kind = cluster.type
    own_type = cluster.WhichOneof("cluster_discovery_type") == "cluster_type"
    endpoints = [each for locality in cluster.load_assignment.endpoints for each in locality.lb_endpoints]
    addresses = [each.endpoint.address.socket_address.address for each in endpoints if each.endpoint.address.HasField("socket_address")]
    if own_type:
        return
    if kind == Cluster.EDS and not cluster.HasField("eds_cluster_config"):
        yield "a cluster of the type EDS has an eds_cluster_config"
    if kind != Cluster.EDS and cluster.HasField("eds_cluster_config"):
        yield "only a cluster of the type EDS has an eds_cluster_config"
    if kind == Cluster.LOGICAL_DNS and len(endpoints) != 1:
        yield "a cluster of the type LOGICAL_DNS has one endpoint"
    if kind == Cluster.STATIC and (names := [address for address in addresses if not _is_ip(address)]):
        yield f"{names[0]} is no IP address: the type has to be STRICT_DNS"
    if (kind == Cluster.ORIGINAL_DST) is not (cluster.lb_policy == Cluster.CLUSTER_PROVIDED):
        yield "the type ORIGINAL_DST and the policy CLUSTER_PROVIDED go together"
    if kind == Cluster.ORIGINAL_DST and cluster.HasField("load_assignment"):
        yield "a cluster of the type ORIGINAL_DST has no endpoints"


def _is_ip(address: str) -> bool:
    try:
        ip_address(address)
    except ValueError:
        return False
    return True
