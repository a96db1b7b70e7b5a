"""Random configurations of Envoy itself: every way to match a connection or a request, be it that nobody's translation makes it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import product
from random import Random

from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.config.endpoint.v3.endpoint_pb2 import ClusterLoadAssignment
from envoy.config.listener.v3.listener_components_pb2 import Filter, FilterChain, FilterChainMatch
from envoy.config.listener.v3.listener_pb2 import Listener
from envoy.extensions.filters.listener.http_inspector.v3.http_inspector_pb2 import HttpInspector
from envoy.extensions.filters.listener.tls_inspector.v3.tls_inspector_pb2 import TlsInspector
from envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2 import HttpConnectionManager
from envoy.extensions.filters.network.tcp_proxy.v3.tcp_proxy_pb2 import TcpProxy
from google.protobuf.json_format import ParseDict

from controlplane.envoy.packing import pack
from controlplane.simulation.resources import ResourceMessage
from tests.support.simulation.bed import OUTBOUND
from tests.support.simulation.envoy_routes import criteria, fault, host_name, route_table
from tests.support.simulation.manifests import PORTS, Configuration

Json = dict[str, object]
CLUSTERS = ("static", "subsets", "priorities", "eds", "original", "header", "port", "empty", "dns", "no-such-cluster")
_VIPS = ("10.96.0.1", "10.96.0.2", "10.96.1.1")
_NAMES = ("a.example", "b.a.example", "c.example", "*.example", "*.a.example", "*.b.a.example")
_PREFIXES = (("10.96.0.0", 16), ("10.96.0.0", 24), ("10.96.0.1", 32), ("172.16.0.0", 12), ("10.0.0.0", 8))
_SOURCES = (("10.250.0.0", 16), ("10.250.1.0", 24), ("10.250.2.0", 23), ("10.0.0.0", 8))
_SLASHES = HttpConnectionManager.PathWithEscapedSlashesAction.keys()
_ADS: Json = {"ads": {}, "resource_api_version": "V3"}


def envoy_configuration(random: Random) -> tuple[Configuration, list[ResourceMessage]]:
    """Return random messages, and what traffic may aim at."""
    made = Configuration(
        addresses=[*_VIPS, "172.16.0.9", "203.0.113.9"],
        hosts=["a.example", "b.a.example", "x.b.a.example", "c.example", "d.c.example", "other.test", "a", "A-1.example", "a.test"],
    )
    tables = [route_table(random, f"table-{index}") for index in range(3)]
    return made, [*_listeners(random), *tables, *_clusters(random), _assignment()]


def _listeners(random: Random) -> Iterator[Listener]:
    first = Listener(name="virtualOutbound", use_original_dst={"value": True})
    _bind(first, "0.0.0.0", OUTBOUND)
    _fill(random, first)
    yield first
    places = [(ip, port) for ip in ("0.0.0.0", *_VIPS) for port in PORTS]
    for ip, port in random.sample(places, random.randint(3, 8)):
        listener = Listener(name=f"{ip}_{port}", bind_to_port={"value": False})
        _bind(listener, ip, port)
        _fill(random, listener)
        yield listener


def _bind(listener: Listener, ip: str, port: int) -> None:
    listener.address.socket_address.address = ip
    listener.address.socket_address.port_value = port


def _fill(random: Random, listener: Listener) -> None:
    for name, message in (("tls", TlsInspector()), ("http", HttpInspector())):
        if random.random() < 0.7:
            inspector = listener.listener_filters.add(name=f"envoy.filters.listener.{name}_inspector", typed_config=pack(message))
            if random.random() < 0.3:
                low = random.choice(PORTS)
                some: Json = {"destination_port_range": {"start": low, "end": low + random.choice((1, 4000))}}
                ParseDict(random.choice((some, {"not_match": some})), inspector.filter_disabled)
    listener.listener_filters_timeout.seconds = 0
    taken: set[tuple[object, ...]] = set()
    for _ in range(random.randint(0, 7)):
        match = _match(random)
        own = set(_claims(match))
        if not own & taken:
            taken |= own
            listener.filter_chains.append(FilterChain(filter_chain_match=match, filters=[_filter(random)]))
    if random.random() < 0.7 or not listener.filter_chains:
        listener.default_filter_chain.CopyFrom(FilterChain(filters=[_filter(random)]))


def _match(random: Random) -> FilterChainMatch:
    match = FilterChainMatch()
    if random.random() < 0.2:
        match.destination_port.value = random.choice(PORTS)
    if random.random() < 0.4:
        _add_ranges(match.prefix_ranges, random.sample(_PREFIXES, random.randint(1, 2)))
    if random.random() < 0.4:
        match.server_names.extend(random.sample(_NAMES, random.randint(1, 2)))
    if random.random() < 0.3:
        match.transport_protocol = random.choice(("tls", "raw_buffer"))
    if random.random() < 0.3:
        match.application_protocols.extend(random.sample(["http/1.1", "h2c", "h2", "istio", "http/1.0"], random.randint(1, 3)))
    if random.random() < 0.15:
        _add_ranges(match.direct_source_prefix_ranges, random.sample(_SOURCES, 1))
    if random.random() < 0.15:
        match.source_type = random.choice((FilterChainMatch.EXTERNAL, FilterChainMatch.SAME_IP_OR_LOOPBACK))
    if random.random() < 0.25:
        _add_ranges(match.source_prefix_ranges, random.sample(_SOURCES, random.randint(1, 2)))
    if random.random() < 0.1:
        match.source_ports.extend(random.sample(range(20000, 60000), 15000))
    return match


def _add_ranges(ranges: object, chosen: Iterable[tuple[str, int]]) -> None:
    for prefix, length in chosen:
        ranges.add(address_prefix=prefix, prefix_len={"value": length})  # type: ignore[attr-defined]  # a repeated field


def _claims(match: FilterChainMatch) -> Iterator[tuple[object, ...]]:
    """Yield what ``match`` takes for itself: two chains that take the same are refused."""
    ranges = (
        [(each.address_prefix, each.prefix_len.value) for each in field] or [("", 0)]
        for field in (match.prefix_ranges, match.direct_source_prefix_ranges, match.source_prefix_ranges)
    )
    lists = (list(field) or [""] for field in (match.server_names, match.application_protocols))
    yield from product(
        [match.destination_port.value], *ranges, *lists, [match.transport_protocol], [match.source_type], match.source_ports or [0]
    )


def _filter(random: Random) -> Filter:
    if random.random() < 0.35:
        return Filter(name="envoy.filters.network.tcp_proxy", typed_config=pack(_tcp_proxy(random)))
    return Filter(name="envoy.filters.network.http_connection_manager", typed_config=pack(_manager(random)))


def _tcp_proxy(random: Random) -> TcpProxy:
    proxy = TcpProxy(stat_prefix="tcp")
    if random.random() < 0.6:
        proxy.cluster = random.choice(CLUSTERS)
    else:
        entries = [{"name": random.choice(CLUSTERS), "weight": each, **criteria(random)} for each in (1, 3)]
        ParseDict({"clusters": entries}, proxy.weighted_clusters)
    if random.random() < 0.4:
        ParseDict(criteria(random), proxy)
    return proxy


def _manager(random: Random) -> HttpConnectionManager:
    manager = HttpConnectionManager(
        stat_prefix="http", normalize_path={"value": random.random() < 0.6}, merge_slashes=random.random() < 0.3
    )
    ParseDict({"path_with_escaped_slashes_action": random.choice(_SLASHES)}, manager)
    manager.strip_trailing_host_dot = random.random() < 0.2
    match random.randint(0, 5):
        case 0:
            manager.strip_any_host_port = True
        case 1:
            manager.strip_matching_host_port = True
    if random.random() < 0.8:
        ParseDict({"config_source": _ADS, "route_config_name": f"table-{random.randint(0, 2)}"}, manager.rds)
    else:
        manager.route_config.CopyFrom(route_table(random, host_name(random)))
        manager.route_config.validate_clusters.value = False
    manager.http_filters.add(name="envoy.filters.http.fault", typed_config=pack(fault(random)))
    router = {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"}
    ParseDict({"name": "envoy.filters.http.router", "typed_config": router}, manager.http_filters.add())
    return manager


def _clusters(random: Random) -> Iterator[Cluster]:
    subsets: Json = {
        "fallback_policy": random.choice(("NO_FALLBACK", "ANY_ENDPOINT", "DEFAULT_SUBSET")),
        "default_subset": {"version": "2"},
        "subset_selectors": [{"keys": ["version"]}, {"keys": ["version", "zone"]}],
    }
    panic = random.choice((0, 50, 100))
    yield _cluster("static", type="STATIC", load_assignment=_list("static", 1))
    yield _cluster("subsets", type="STATIC", load_assignment=_list("subsets", 1, 2), lb_subset_config=subsets)
    common = {"healthy_panic_threshold": {"value": panic}}
    yield _cluster("priorities", type="STATIC", load_assignment=_unwell(random), common_lb_config=common)
    yield _cluster("eds", type="EDS", eds_cluster_config={"eds_config": _ADS, "service_name": "assigned"})
    yield _cluster("original", type="ORIGINAL_DST", lb_policy="CLUSTER_PROVIDED")
    yield _cluster("header", type="ORIGINAL_DST", lb_policy="CLUSTER_PROVIDED", original_dst_lb_config={"use_http_header": True})
    yield _cluster("port", type="ORIGINAL_DST", lb_policy="CLUSTER_PROVIDED", original_dst_lb_config={"upstream_port_override": 4444})
    yield _cluster("empty", type="STATIC")
    yield _cluster("dns", type="STRICT_DNS", load_assignment=_assigned("dns", [{"lb_endpoints": [_endpoint("198.51.100.77", "1")]}]))


def _cluster(name: str, **fields: object) -> Cluster:
    return ParseDict({"name": name, "connect_timeout": "5s", **fields}, Cluster())


def _list(name: str, *versions: int) -> Json:
    return _assigned(
        name, [{"lb_endpoints": [_endpoint(f"198.51.{version}.{each}", str(version)) for version in versions for each in (1, 2)]}]
    )


def _unwell(random: Random) -> Json:
    localities: list[Json] = []
    for priority in range(random.randint(1, 3)):
        states = [random.choice(("HEALTHY", "UNHEALTHY", "UNHEALTHY", "DEGRADED", "DRAINING")) for _ in range(random.randint(1, 5))]
        endpoints = [_endpoint(f"198.52.{priority}.{index}", "1", state) for index, state in enumerate(states, 1)]
        localities.append({"lb_endpoints": endpoints, "priority": priority})
    return _assigned("priorities", localities)


def _endpoint(ip: str, version: str, health: str = "UNKNOWN") -> Json:
    address = {"socket_address": {"address": ip, "port_value": 7000}}
    metadata = {"filter_metadata": {"envoy.lb": {"version": version, "zone": ip[-1]}}}
    return {"endpoint": {"address": address}, "metadata": metadata, "health_status": health}


def _assigned(name: str, localities: list[Json]) -> Json:
    return {"cluster_name": name, "endpoints": localities}


def _assignment() -> ClusterLoadAssignment:
    return ParseDict(_assigned("assigned", [{"lb_endpoints": [_endpoint("198.53.0.1", "1")]}]), ClusterLoadAssignment())
