"""Small messages of Envoy, for what a test says of one rule."""

from __future__ import annotations

from collections.abc import Mapping

from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.config.endpoint.v3.endpoint_pb2 import ClusterLoadAssignment
from envoy.config.listener.v3.listener_components_pb2 import Filter, FilterChain
from envoy.config.listener.v3.listener_pb2 import Listener
from envoy.config.route.v3.route_pb2 import RouteConfiguration
from envoy.extensions.filters.http.fault.v3.fault_pb2 import HTTPFault
from envoy.extensions.filters.http.router.v3.router_pb2 import Router
from envoy.extensions.filters.listener.http_inspector.v3.http_inspector_pb2 import HttpInspector
from envoy.extensions.filters.listener.tls_inspector.v3.tls_inspector_pb2 import TlsInspector
from envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2 import HttpConnectionManager
from envoy.extensions.filters.network.tcp_proxy.v3.tcp_proxy_pb2 import TcpProxy
from google.protobuf.json_format import ParseDict

from controlplane.envoy.packing import pack
from controlplane.simulation.resources import ResourceMessage, resources_of
from controlplane.simulation.result import Simulation
from controlplane.simulation.simulate import simulate
from controlplane.simulation.traffic import Address, ClientConnection, FirstBytes, PlainHttp, Request

Json = Mapping[str, object]
CLIENT = Address("10.250.0.1", 40000)
OUTBOUND = Address("127.0.0.1", 15001)


def listener(ip: str, port: int, *chains: FilterChain, inspectors: str = "", **fields: object) -> Listener:
    """Return a listener for ``ip`` and ``port`` that is handed connections; ``inspectors`` are ``tls``, ``http`` or both."""
    message = ParseDict({"name": f"{ip}_{port}", "bind_to_port": False, **fields}, Listener())
    message.address.socket_address.address, message.address.socket_address.port_value = ip, port
    for name, kind in (("tls", TlsInspector), ("http", HttpInspector)):
        if name in inspectors.split():
            message.listener_filters.add(name=name, typed_config=pack(kind()))
    message.filter_chains.extend(chains)
    return message


def virtual_outbound(*, falls_back: str = "passthrough") -> Listener:
    """Return the listener that iptables send connections to, which has ``falls_back`` for those that no other is for."""
    message = listener("0.0.0.0", OUTBOUND.port, name="virtualOutbound", bind_to_port=True, use_original_dst=True)
    message.default_filter_chain.CopyFrom(tcp(falls_back, name="default"))
    return message


def tcp(cluster: str, *, name: str = "", proxy: Json | None = None, **match: object) -> FilterChain:
    """Return a chain with ``match`` that sends whole connections to ``cluster``, or as ``proxy`` says."""
    config = ParseDict(dict(proxy or {"cluster": cluster}), TcpProxy(stat_prefix="tcp"))
    return _chain(name or cluster, Filter(name="tcp", typed_config=pack(config)), match)


def http(table: str, *, name: str = "", manager: Json | None = None, **match: object) -> FilterChain:
    """Return a chain with ``match`` whose requests are routed by ``table``; ``manager`` says more of its HTTP connection manager."""
    config = ParseDict(dict(manager or {}), HttpConnectionManager(stat_prefix="http"))
    config.rds.route_config_name = table
    config.http_filters.add(name="fault", typed_config=pack(HTTPFault()))
    config.http_filters.add(name="router", typed_config=pack(Router()))
    return _chain(name or table, Filter(name="http", typed_config=pack(config)), match)


def _chain(name: str, terminal: Filter, match: Json) -> FilterChain:
    return ParseDict({"filter_chain_match": match}, FilterChain(name=name, filters=[terminal]))


def block(cidr: str) -> Json:
    """Return ``cidr`` as a range of a match."""
    prefix, _, length = cidr.partition("/")
    return {"address_prefix": prefix, "prefix_len": int(length)}


def table(*hosts: Json, general: Json | None = None) -> RouteConfiguration:
    """Return a route table of ``hosts``, which have the name of their first domain; ``general`` is what holds for all of them."""
    named = [{"name": _first(host), **host} for host in hosts]
    return ParseDict({"name": "table", "virtual_hosts": named, **(general or {})}, RouteConfiguration())


def _first(host: Json) -> object:
    domains = host["domains"]
    assert isinstance(domains, list)
    return domains[0]


def cluster(name: str, *addresses: str, **fields: object) -> Cluster:
    """Return a cluster with a list of its own."""
    message = ParseDict({"name": name, "type": "STATIC", **fields}, Cluster())
    if addresses:
        message.load_assignment.CopyFrom(assignment(name, {"lb_endpoints": [endpoint(each) for each in addresses]}))
    return message


def assignment(name: str, *localities: Json) -> ClusterLoadAssignment:
    """Return the endpoints of ``localities``."""
    return ParseDict({"cluster_name": name, "endpoints": list(localities)}, ClusterLoadAssignment())


def endpoint(address: str, health: str = "UNKNOWN", /, **labels: str) -> Json:
    """Return an endpoint at ``address`` with ``labels`` for subsets."""
    ip, _, port = address.rpartition(":")
    metadata = {"filter_metadata": {"envoy.lb": labels}}
    return {
        "endpoint": {"address": {"socket_address": {"address": ip, "port_value": int(port)}}},
        "metadata": metadata,
        "health_status": health,
    }


def connection(destination: str, first_bytes: FirstBytes | None = None, *, source: Address = CLIENT) -> ClientConnection:
    """Return a captured connection to ``destination``."""
    ip, _, port = destination.rpartition(":")
    begins = PlainHttp() if first_bytes is None else first_bytes
    return ClientConnection(source=source, destination=Address(ip, int(port)), first_bytes=begins, redirected_to=OUTBOUND)


def request(authority: str = "a.example", path: str = "/", method: str = "GET", **headers: str) -> Request:
    """Return a request to port 80 of some address; the names of ``headers`` have dashes for underscores."""
    named = tuple((name.replace("_", "-"), value) for name, value in headers.items())
    return Request(connection=connection("10.96.0.1:80"), authority=authority, path=path, method=method, headers=named)


def simulated(asked: Request, *hosts: Json, manager: Json | None = None, general: Json | None = None) -> Simulation:
    """Return what becomes of ``asked`` where ``hosts`` are the virtual hosts of port 80, with the clusters ``a`` and ``b``."""
    own = listener("0.0.0.0", 80, http("table", manager=manager))
    messages: list[ResourceMessage] = [
        virtual_outbound(),
        own,
        table(*hosts, general=general),
        cluster("a", "1.1.1.1:1"),
        cluster("b", "2.2.2.2:2"),
    ]
    return simulate(asked, resources_of(messages))
