"""Virtual hosts, their routes, and the RouteConfigurations around them: the rules come in the order in which Envoy compares them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import assert_never

from envoy.config.core.v3.base_pb2 import Metadata
from envoy.config.route.v3.route_components_pb2 import Route, VirtualHost
from envoy.config.route.v3.route_pb2 import RouteConfiguration
from google.protobuf.duration_pb2 import Duration
from google.protobuf.struct_pb2 import Struct

from controlplane.ir.actions import Answer, Forward, Redirect
from controlplane.ir.listeners import InboundPort
from controlplane.ir.matches import EVERY_REQUEST, AnyPath, ExactPath, PathMatch, PathPattern, StringPrefix
from controlplane.ir.rules import UNNAMED, HttpRule, RequestPort
from controlplane.model.mesh import OutboundPolicy
from controlplane.translate.addresses import ads
from controlplane.translate.clusters.clusters import INBOUND_PASSTHROUGH, PASSTHROUGH
from controlplane.translate.filters.order import of_rule
from controlplane.translate.matches import route_match
from controlplane.translate.routes.actions import direct_response, forward, plain_forward, redirect
from controlplane.translate.routes.headers import change_headers

_MAX_BODY = 1 << 20
_UNAVAILABLE = 503


def virtual_host(*, redirects: bool = False) -> VirtualHost:
    """Return a virtual host without name, domains and routes; ``redirects``: requests in plaintext are sent to HTTPS."""
    message = VirtualHost(include_request_attempt_count=True)
    if redirects:
        message.require_tls = VirtualHost.ALL
    return message


def broken_host() -> VirtualHost:
    """Return the virtual host, without name and domains, of a host whose rules nobody could work out: every request is answered 503."""
    return VirtualHost(routes=[Route(match=route_match(EVERY_REQUEST), direct_response={"status": _UNAVAILABLE})])


def route_configuration(name: str, *, catch_all: OutboundPolicy | None, vhds: bool, ports_in_domains: bool = False) -> RouteConfiguration:
    """Return the RouteConfiguration ``name`` with its ``catch_all`` alone; ``vhds``: the other virtual hosts come one by one."""
    message = RouteConfiguration(
        name=name,
        validate_clusters={"value": False},
        ignore_port_in_host_matching=not ports_in_domains,
        max_direct_response_body_size_bytes={"value": _MAX_BODY},
    )
    if catch_all is not None:
        message.virtual_hosts.append(_catch_all(catch_all))
    if vhds:
        message.vhds.config_source.CopyFrom(ads())
    return message


def origins(message: VirtualHost) -> Iterator[tuple[str, str]]:
    """Yield the namespace and the name of each VirtualService that a route of ``message`` says it is of."""
    for route in message.routes:
        path = route.metadata.filter_metadata["istio"].fields["config"].string_value if route.HasField("metadata") else ""
        if path:
            *_, namespace, _kind, name = path.split("/")
            yield namespace, name


def inbound_route(port: InboundPort) -> RouteConfiguration:
    """Return where requests to the workload's ``port`` go: to the application, without a time-out of ours."""
    route = Route(name=UNNAMED, match=route_match(EVERY_REQUEST), route=plain_forward(port.cluster))
    route.route.max_stream_duration.max_stream_duration.CopyFrom(Duration())
    route.route.max_stream_duration.grpc_timeout_header_max.CopyFrom(Duration())
    host = port.service.host if port.service else "*"
    route.decorator.operation = f"{host}:{port.service_port}/*"
    return RouteConfiguration(
        name=port.cluster,
        virtual_hosts=[VirtualHost(name=f"inbound|http|{port.service_port}", domains=["*"], routes=[route])],
        validate_clusters={"value": False},
    )


def pass_through_route() -> RouteConfiguration:
    """Return where requests to ports of the workload that no service names go: where they were going."""
    route = Route(name=UNNAMED, match=route_match(EVERY_REQUEST), route=plain_forward(INBOUND_PASSTHROUGH))
    return RouteConfiguration(
        name=INBOUND_PASSTHROUGH,
        virtual_hosts=[VirtualHost(name="inbound|http|0", domains=["*"], routes=[route])],
        validate_clusters={"value": False},
    )


def shared_route(rule: HttpRule, arrived_at: RequestPort) -> Route:
    """Return the route of ``rule`` for requests that ``arrived_at`` a port, for whatever host: without its operation."""
    route = Route(name=rule.name, match=route_match(rule.match), stat_prefix=rule.stat_prefix)
    if rule.origin:
        route.metadata.CopyFrom(_metadata(rule.origin))
    change_headers(route, rule.request, rule.response)
    for name, config in of_rule(rule).items():
        route.typed_per_filter_config[name].CopyFrom(config)
    match rule.action:
        case Forward():
            forward(route, rule.action)
        case Redirect():
            route.redirect.CopyFrom(redirect(rule.action, arrived_at))
        case Answer():
            route.direct_response.CopyFrom(direct_response(rule.action))
        case _:
            assert_never(rule.action)
    return route


def operation(rule: HttpRule) -> str | None:
    """Return what traces call requests by ``rule``, after host and port; ``None`` where they have no name."""
    return _operation(rule.match.path) if isinstance(rule.action, Forward) else None


def _operation(path: PathMatch) -> str:
    match path:
        case ExactPath(path_text):
            return path_text
        case StringPrefix(path_text):
            return f"{path_text}*"
        case AnyPath() | PathPattern():
            return "/*"
        case _:
            assert_never(path)


def _catch_all(policy: OutboundPolicy) -> VirtualHost:
    match policy:
        case OutboundPolicy.ALLOW_ANY:
            route = Route(name="allow_any", match=route_match(EVERY_REQUEST), route=plain_forward(PASSTHROUGH))
            return VirtualHost(name="allow_any", domains=["*"], routes=[route], include_request_attempt_count=True)
        case OutboundPolicy.REGISTRY_ONLY:
            route = Route(name="block_all", match=route_match(EVERY_REQUEST), direct_response={"status": 502})
            return VirtualHost(name="block_all", domains=["*"], routes=[route], include_request_attempt_count=True)


def _metadata(config: str) -> Metadata:
    struct = Struct()
    struct.update({"config": config})
    return Metadata(filter_metadata={"istio": struct})
