"""What an Envoy answers to those who watch it: Prometheus, and a kubelet that asks whether it, or the application beside it, is well.

Each port answers the paths that are meant and nothing else of Envoy's admin API, and goes on answering when the limits are reached.

A kubelet knows no identity: where mutual TLS is demanded it cannot ask the application. So it asks Envoy, at a path for each probe, and is
answered only if it comes from an address of the node. An HTTP probe is passed on. A probe by TCP or gRPC becomes one by HTTP, which says
what Envoy's own check of the application found last, at most a second ago. Before it stops a pod, the kubelet asks for the drain in the
same way: clients are told to go elsewhere, and the answer, for which the kubelet waits, comes when they have had the time.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, assert_never

from controlplane.bootstrap.xds_cluster import socket_address
from controlplane.untyped import Json

DRAIN_PATH = "/drain"
READY_PATH = "/healthz/ready"
STATS_PATH = "/stats/prometheus"
METRICS_PATH = "/stats/application"
_ADMIN = "admin"
_NODE = "node"
_TYPES = "type.googleapis.com/envoy"
_FILTERS = f"{_TYPES}.extensions.filters.http"
# A kubelet can only GET, and what changes Envoy takes a POST.
_DRAIN = """function envoy_on_request(handle)
  local headers = {[":method"] = "POST", [":path"] = "/drain_listeners?graceful&skip_exit%s", [":authority"] = "admin"}
  handle:httpCall("admin", headers, "", 5000)
end"""
# Connections that come from here pass by the redirection of iptables, as those do that Envoy hands on to the application.
_FROM_ENVOY = {
    "source_address": {"address": "127.0.0.6", "port_value": 0},
    "extra_source_addresses": [{"address": {"address": "::6", "port_value": 0}}],
}


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusPorts:
    """Where Envoy is asked; the numbers are Istio's."""

    host: str = "0.0.0.0"  # "::": IPv4 as well
    additional_hosts: tuple[str, ...] = ()  # further addresses
    ready: int = 15021
    stats: int = 15090
    node_addresses: tuple[str, ...] = ()  # addresses from which probes of the application are answered
    application_host: str = "127.0.0.1"  # the address at which it is probed
    drain_s: int | None = None  # how long what has begun may take before the stop; None: nobody can ask for the drain
    metrics: ApplicationProbe | None = None  # of the application: where Prometheus gets them
    is_gateway: bool = False  # clients come in at all listeners; otherwise outbound ones serve the application until its end


@dataclass(frozen=True, slots=True, kw_only=True)
class ApplicationProbe:
    """A probe of the application, which the kubelet requests at the path ``requested`` of the readiness port."""

    requested: str
    kind: Literal["http", "tcp", "grpc"]
    port: int
    path: str = "/"  # of an HTTP probe: that of the application, with its query
    tls: bool = False  # of an HTTP probe; whose the certificate is, is not asked, as a kubelet does not either
    service: str = ""  # of a gRPC probe
    timeout_s: int = 1

    @property
    def cluster(self) -> str:
        """Return the name of the cluster by which the application is reached."""
        match self.kind:
            case "http":
                return f"app-health|{self.port}|{'https' if self.tls else 'http'}"
            case "tcp":
                return f"app-health|{self.port}|tcp|{self.timeout_s}"
            case "grpc":
                return f"app-health|{self.port}|grpc|{self.timeout_s}|{self.service}"
            case _:
                assert_never(self.kind)


def status_clusters(admin: str, ports: StatusPorts, probes: Iterable[ApplicationProbe]) -> list[Json]:
    """Return the clusters behind the ``ports``: Envoy's ``admin`` API, and the application as ``probes`` reach it."""
    all_probes = (*probes, *([ports.metrics] if ports.metrics else []))
    reached = {probe.cluster: _application_cluster(ports.application_host, probe) for probe in all_probes}
    return [_static_cluster(_ADMIN, socket_address(admin)), *(reached[name] for name in sorted(reached))]


def status_listeners(ports: StatusPorts, probes: Sequence[ApplicationProbe]) -> list[Json]:
    """Return the listeners at ``ports``; the node's own addresses may ask for ``probes``."""
    ready = _listener("ready", ports, ports.ready)
    ready["default_filter_chain"] = _chain("anybody", [_route(READY_PATH, _ADMIN, "/ready")])
    if probes or ports.drain_s is not None:
        node_action = {"name": _NODE, "typed_config": {"@type": "type.googleapis.com/google.protobuf.StringValue", "value": _NODE}}
        ready["filter_chain_matcher"] = {
            "matcher_tree": {
                "input": {
                    "name": "envoy.matching.inputs.source_ip",
                    "typed_config": {"@type": f"{_TYPES}.extensions.matching.common_inputs.network.v3.SourceIPInput"},
                },
                "exact_match_map": {"map": {host: {"action": node_action} for host in ports.node_addresses}},
            }
        }
        ready["filter_chains"] = [_node_chain(probes, ports)]
    stats = _listener("stats", ports, ports.stats)
    metrics = [_probe_route(ports.metrics)] if ports.metrics else []
    stats["default_filter_chain"] = _chain("stats", [_route(STATS_PATH, _ADMIN, STATS_PATH), *metrics])
    return [ready, stats]


def _node_chain(probes: Sequence[ApplicationProbe], ports: StatusPorts) -> Json:
    routes = [_http_probe_route(probe) for probe in probes if probe.kind == "http"]
    filters = [_health_check_filter(probe) for probe in probes if probe.kind != "http"]
    if ports.drain_s is not None:
        routes.append(_drain_route(ports.drain_s, "" if ports.is_gateway else "&inboundonly"))
        filters += [_filter("lua", "lua.v3.Lua"), _filter("fault", "fault.v3.HTTPFault")]
    return _chain(_NODE, [_route(READY_PATH, _ADMIN, "/ready"), *routes], filters)


def _drain_route(wait_s: int, which: str) -> Json:
    drain = {"@type": f"{_FILTERS}.lua.v3.LuaPerRoute", "source_code": {"inline_string": _DRAIN % which}}
    wait = {"fixed_delay": f"{wait_s}s", "percentage": {"numerator": 100}}
    late = {"@type": f"{_FILTERS}.fault.v3.HTTPFault", **({"delay": wait} if wait_s else {})}
    config = {"envoy.filters.http.lua": drain, "envoy.filters.http.fault": late}
    return {"match": {"path": DRAIN_PATH}, "direct_response": {"status": 200}, "typed_per_filter_config": config}


def _health_check_filter(probe: ApplicationProbe) -> Json:
    percentages = {probe.cluster: {"value": 100}}
    config: Json = {"pass_through_mode": False, "headers": [_path(probe.requested)], "cluster_min_healthy_percentages": percentages}
    return _filter("health_check", "health_check.v3.HealthCheck", config)


def _filter(name: str, message: str, config: Json | None = None) -> Json:
    return {"name": f"envoy.filters.http.{name}", "typed_config": {"@type": f"{_FILTERS}.{message}", **(config or {})}}


def _application_cluster(host: str, probe: ApplicationProbe) -> Json:
    cluster = _static_cluster(probe.cluster, {"socket_address": {"address": host, "port_value": probe.port}})
    cluster["upstream_bind_config"] = _FROM_ENVOY
    match probe.kind:
        case "http":
            if probe.tls:
                context = {"@type": f"{_TYPES}.extensions.transport_sockets.tls.v3.UpstreamTlsContext"}
                cluster["transport_socket"] = {"name": "envoy.transport_sockets.tls", "typed_config": context}
        case "tcp":
            cluster["health_checks"] = [_check(probe, {"tcp_health_check": {}})]
        case "grpc":
            options = {
                "@type": f"{_TYPES}.extensions.upstreams.http.v3.HttpProtocolOptions",
                "explicit_http_config": {"http2_protocol_options": {}},
            }
            cluster["typed_extension_protocol_options"] = {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": options}
            cluster["health_checks"] = [_check(probe, {"grpc_health_check": {"service_name": probe.service}})]
        case _:
            assert_never(probe.kind)
    return cluster


def _check(probe: ApplicationProbe, how: Json) -> Json:
    """Return a check each second: how often a result has to be the same before it counts, the kubelet decides."""
    often = {"interval": "1s", "no_traffic_interval": "1s", "unhealthy_threshold": 1, "healthy_threshold": 1}
    return {"timeout": f"{probe.timeout_s}s", **often, "reuse_connection": False, **how}


def _static_cluster(name: str, socket: Json) -> Json:
    endpoints = [{"lb_endpoints": [{"endpoint": {"address": socket}}]}]
    return {
        "name": name,
        "type": "STATIC",
        "connect_timeout": "1s",
        "load_assignment": {"cluster_name": name, "endpoints": endpoints},
    }


def _listener(name: str, ports: StatusPorts, port: int) -> Json:
    first, *additional = (_socket_address(host, port) for host in (ports.host, *ports.additional_hosts))
    return {
        "name": name,
        "address": first,
        **({"additional_addresses": [{"address": bound} for bound in additional]} if additional else {}),
        "ignore_global_conn_limit": True,
        "bypass_overload_manager": True,
    }


def _socket_address(host: str, port: int) -> Json:
    return {"socket_address": {"address": host, "port_value": port, **({"ipv4_compat": True} if host == "::" else {})}}


def _chain(name: str, routes: list[Json], filters: Iterable[Json] = ()) -> Json:
    router = _filter("router", "router.v3.Router")
    manager = {
        "@type": f"{_TYPES}.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": name,
        "generate_request_id": False,
        "request_headers_timeout": "10s",
        "route_config": {"name": name, "virtual_hosts": [{"name": name, "domains": ["*"], "routes": routes}]},
        "http_filters": [*filters, router],
    }
    return {"name": name, "filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}


def _route(requested: str, cluster: str, path: str, timeout_s: int = 15) -> Json:
    get = {"name": ":method", "string_match": {"exact": "GET"}}
    return {
        "match": {"path": requested, "headers": [get]},
        "route": {"cluster": cluster, "prefix_rewrite": path, "timeout": f"{timeout_s}s"},
    }


def _http_probe_route(probe: ApplicationProbe) -> Json:
    """Return the route of an HTTP probe. A redirect is a success for a kubelet; were it told where to, it would look there at our port."""
    return _probe_route(probe) | {"response_headers_to_remove": ["location"]}


def _probe_route(probe: ApplicationProbe) -> Json:
    return _route(probe.requested, probe.cluster, probe.path, probe.timeout_s)


def _path(path: str) -> Json:
    return {"name": ":path", "string_match": {"exact": path}}
