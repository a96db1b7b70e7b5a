"""Virtual hosts, their routes, and the RouteConfigurations around them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from envoy.config.core.v3.base_pb2 import Metadata
from envoy.config.route.v3.route_components_pb2 import Route, VirtualHost
from envoy.config.route.v3.route_pb2 import RouteConfiguration
from google.protobuf.duration_pb2 import Duration
from google.protobuf.struct_pb2 import Struct

from controlplane.ir.listeners import InboundPort
from controlplane.model.mesh import OutboundPolicy
from controlplane.objects.networking.destination_rule import ConsistentHashLB
from controlplane.objects.networking.virtual_service import HTTPMatchRequest, HTTPRoute
from controlplane.translate.actions import direct_response, forward, has_code, plain_forward, redirect
from controlplane.translate.clusters import INBOUND_PASSTHROUGH, PASSTHROUGH
from controlplane.translate.common import ads
from controlplane.translate.filters.registry import of_route
from controlplane.translate.headers import operations
from controlplane.translate.matches import route_match, takes_everything

DEFAULT = "default"  # the name of a route that nobody named
_MAX_BODY = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One rule of a VirtualService, with the clusters that its destinations mean for the proxies in question."""

    route: HTTPRoute
    matches: tuple[HTTPMatchRequest, ...]  # those that apply to these proxies; empty: every request
    clusters: tuple[str, ...]  # one a destination
    mirrors: tuple[str, ...]  # one a mirror
    hash_policies: tuple[ConsistentHashLB, ...]
    config: str  # the path of the VirtualService


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """A virtual host: the rules for its requests, or the cluster for all of them where there is no rule."""

    host: str
    port: int
    rules: tuple[Rule, ...]
    cluster: str
    hash_policy: ConsistentHashLB | None


def virtual_host(value: Host) -> VirtualHost:
    """Return the virtual host of ``value`` without name and domains, which differ from table to table."""
    routes = [_default_route(value)] if value.cluster and not value.rules else list(_routes(value))
    return VirtualHost(routes=routes, include_request_attempt_count=True)


def merged_host(parts: Sequence[Host], *, redirects: bool) -> VirtualHost:
    """Return the virtual host that ``parts``, oldest first, make together; ``redirects``: requests in plaintext are sent to HTTPS.

    What takes every request comes last, whichever part has it, and of several the first alone.
    https://istio.io/latest/docs/ops/best-practices/traffic-management/#split-virtual-services
    """
    routes = [route for part in parts for route in virtual_host(part).routes]
    last = [route for route in routes if takes_everything(route.match)][:1]
    found = VirtualHost(routes=[each for each in routes if not takes_everything(each.match)] + last, include_request_attempt_count=True)
    if redirects:
        found.require_tls = VirtualHost.ALL
    return found


def route_configuration(name: str, *, catch_all: OutboundPolicy | None, vhds: bool, ports_in_domains: bool = False) -> RouteConfiguration:
    """Return the RouteConfiguration ``name`` with its ``catch_all`` alone; ``vhds``: the other virtual hosts come one by one."""
    found = RouteConfiguration(
        name=name,
        validate_clusters={"value": False},
        ignore_port_in_host_matching=not ports_in_domains,
        max_direct_response_body_size_bytes={"value": _MAX_BODY},
    )
    if catch_all is not None:
        found.virtual_hosts.append(_catch_all(catch_all))
    if vhds:
        found.vhds.config_source.CopyFrom(ads())
    return found


def inbound_route(port: InboundPort) -> RouteConfiguration:
    """Return where requests to the workload's ``port`` go: to the application, without a time-out of ours."""
    route = Route(name=DEFAULT, match=route_match(None), route=plain_forward(port.cluster))
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
    route = Route(name=DEFAULT, match=route_match(None), route=plain_forward(INBOUND_PASSTHROUGH))
    return RouteConfiguration(
        name=INBOUND_PASSTHROUGH,
        virtual_hosts=[VirtualHost(name="inbound|http|0", domains=["*"], routes=[route])],
        validate_clusters={"value": False},
    )


def _routes(value: Host) -> Iterator[Route]:
    for rule in value.rules:
        if rule.route.redirect and not has_code(rule.route.redirect):
            continue
        for match in rule.matches or (None,):
            found = _route(value, rule, match)
            yield found
            if takes_everything(found.match):
                return


def _route(value: Host, rule: Rule, match: HTTPMatchRequest | None) -> Route:
    given = rule.route
    found = Route(
        name=".".join(each for each in (given.name, match.name if match else "") if each) or DEFAULT,
        match=route_match(match),
        metadata=_metadata(rule.config),
    )
    if match and match.stat_prefix:
        found.stat_prefix = match.stat_prefix
    headers = operations(given.headers)
    found.request_headers_to_add.extend(headers.request_add)
    found.request_headers_to_remove.extend(headers.request_remove)
    found.response_headers_to_add.extend(headers.response_add)
    found.response_headers_to_remove.extend(headers.response_remove)
    for name, config in of_route(given).items():
        found.typed_per_filter_config[name].CopyFrom(config)
    if given.redirect:
        redirect(found, given.redirect, value.port)
    elif given.direct_response:
        found.direct_response.CopyFrom(direct_response(given.direct_response))
    else:
        forward(found, given, rule.clusters, rule.mirrors, rule.hash_policies, headers.authority)
        found.decorator.operation = f"{value.host}:{value.port}{_operation(match)}"
    return found


def _operation(match: HTTPMatchRequest | None) -> str:
    uri = match.uri if match else None
    if uri and uri.exact is not None:
        return uri.exact
    return f"{uri.prefix if uri and uri.prefix is not None else '/'}*"


def _default_route(value: Host) -> Route:
    found = Route(name=DEFAULT, match=route_match(None))
    hashes = (value.hash_policy,) if value.hash_policy else ()
    forward(found, HTTPRoute(), (value.cluster,), (), hashes, "")
    found.decorator.operation = f"{value.host}:{value.port}/*"
    return found


def _catch_all(policy: OutboundPolicy) -> VirtualHost:
    match policy:
        case OutboundPolicy.ALLOW_ANY:
            route = Route(name="allow_any", match=route_match(None), route=plain_forward(PASSTHROUGH))
            return VirtualHost(name="allow_any", domains=["*"], routes=[route], include_request_attempt_count=True)
        case OutboundPolicy.REGISTRY_ONLY:
            route = Route(name="block_all", match=route_match(None), direct_response={"status": 502})
            return VirtualHost(name="block_all", domains=["*"], routes=[route], include_request_attempt_count=True)


def _metadata(config: str) -> Metadata:
    struct = Struct()
    struct.update({"config": config})
    return Metadata(filter_metadata={"istio": struct})
