"""What a VirtualService must keep to.

https://istio.io/latest/docs/reference/config/networking/virtual-service/
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from controlplane.model.cluster_names import OUTBOUND
from controlplane.model.hosts import ANY, is_covered_by, is_ip
from controlplane.objects.networking.fault_side import check_fault_side
from controlplane.objects.networking.rules import headers, http_actions
from controlplane.objects.networking.rules.http_match import check_match
from controlplane.objects.networking.rules.ineffective.shadowed import unreachable_connections, unreachable_routes
from controlplane.objects.networking.virtual_service import (
    ConnectionMatch,
    Destination,
    HTTPRoute,
    HTTPRouteDestination,
    RouteDestination,
    TLSMatchAttributes,
    VirtualService,
    VirtualServiceSpec,
)
from controlplane.objects.types import rules
from controlplane.objects.types.findings import Finding
from controlplane.objects.types.names import MAX_HOST, host_error, is_fqdn, is_label
from controlplane.objects.types.scalars import MAX_UINT32
from controlplane.objects.types.validation_errors import for_message

MAX_ROUTES = 100_000  # of all hosts together: each is a route that every proxy is sent, however little of it is written


def check(virtual_service: VirtualService) -> Iterator[Finding]:
    """Yield what is wrong with ``virtual_service``."""
    spec = virtual_service.spec
    yield from _hosts(spec)
    count = len(spec.hosts) * sum(max(1, len(route.match)) for route in spec.http)
    if count > MAX_ROUTES:
        yield rules.out_of_range("spec.http", f"at most {MAX_ROUTES} matches, counted for each host", count)
    yield from rules.gateways("spec.gateways", spec.gateways)
    if not (spec.http or spec.tcp or spec.tls):
        yield rules.required("spec", "at least one of http, tls and tcp")
    claims = not spec.hosts or any(name != rules.MESH for name in spec.gateways)
    for index, route in enumerate(spec.http):
        yield from _http(f"spec.http[{index}]", route, delegate=not spec.hosts, claims=claims)
    yield from unreachable_routes(spec.http)
    for index, tls in enumerate(spec.tls):
        yield from _tls_matches(f"spec.tls[{index}]", tls.match, spec.hosts)
        yield from _connections(f"spec.tls[{index}]", tls.match, tls.route)
    for index, tcp in enumerate(spec.tcp):
        yield from _connections(f"spec.tcp[{index}]", tcp.match, tcp.route)
    yield from unreachable_connections("tls", spec.tls)
    yield from unreachable_connections("tcp", spec.tcp)
    yield from rules.export_to("spec.exportTo", spec.export_to, virtual_service.meta.namespace)
    yield from check_fault_side(virtual_service)


def _hosts(spec: VirtualServiceSpec) -> Iterator[Finding]:
    if not spec.hosts:
        for name, setting in (("gateways", spec.gateways), ("tls", spec.tls), ("tcp", spec.tcp)):
            if setting:
                yield rules.conflict(f"spec.{name}", "expected hosts: without any this is a delegate, which has http routes alone")
    in_mesh = not spec.gateways or rules.MESH in spec.gateways
    generated = bool(spec.tls) and any(name != rules.MESH for name in spec.gateways)
    for index, host in enumerate(spec.hosts):
        path = f"spec.hosts[{index}]"
        if in_mesh and host == ANY:
            yield rules.out_of_range(path, "a host: '*' alone is for gateways", host)
        elif not is_ip(host) and not (generated and _is_generated(host)):
            yield from rules.host_name(path, host)
    yield from _overlaps(spec.hosts)


def _overlaps(hosts: Sequence[str]) -> Iterator[Finding]:
    """Yield which of ``hosts`` another covers; by the ends of names, as there may be very many."""
    ends: dict[str, int] = {}
    names: dict[str, int] = {}
    for index, host in enumerate(hosts):
        (ends if host.startswith(ANY) else names).setdefault(host.removeprefix(ANY), index)
    for index, host in enumerate(hosts):
        name = host.removeprefix(ANY)[-MAX_HOST:]
        equal = names.get(host, index)
        candidates = (covering for start in range(len(name) + 1) if (covering := ends.get(name[start:], index)) != index)
        covering = equal if equal != index else next(candidates, index)
        if covering != index:
            both = f"{for_message(host)} and {for_message(hosts[covering])}"
            yield rules.conflict(f"spec.hosts[{max(index, covering)}]", f"expected hosts that do not overlap: {both} do")


def _is_generated(host: str) -> bool:
    """Return whether ``host`` is a cluster's name as a server name: ``outbound_.PORT_.SUBSET_.HOST``."""
    direction, _, rest = host.partition("_.")
    parts = rest.split("_.")
    return direction == OUTBOUND and len(parts) == 3 and parts[0].isdecimal() and is_fqdn(parts[2])


def _http(path: str, route: HTTPRoute, *, delegate: bool, claims: bool) -> Iterator[Finding]:
    yield from _exclusive(path, route, delegate=delegate)
    for index, match in enumerate(route.match):
        yield from check_match(f"{path}.match[{index}]", match, claims=claims)
    yield from _destinations(f"{path}.route", route.route)
    yield from http_actions.check(path, route)
    for index, mirror in enumerate(route.mirrors):
        yield from check_destination(f"{path}.mirrors[{index}].destination", mirror.destination)
    if route.mirror:
        yield from check_destination(f"{path}.mirror", route.mirror)


def _exclusive(path: str, route: HTTPRoute, *, delegate: bool) -> Iterator[Finding]:
    """Yield what is wrong with the kinds of answer that ``route`` combines; of a ``delegate`` it may not delegate again."""
    choices = (
        ("route", bool(route.route)),
        ("redirect", route.redirect is not None),
        ("directResponse", route.direct_response is not None),
        ("delegate", route.delegate is not None),
    )
    actions = [name for name, is_set in choices if is_set]
    if route.delegate is not None and delegate:
        yield rules.conflict(f"{path}.delegate", "expected no delegate in a delegate")
    if not actions:
        yield rules.required(path, "one of route, redirect, directResponse and delegate")
    if len(actions) > 1:
        yield rules.conflict(path, f"expected one of {' and '.join(actions)}, found both")
    if route.rewrite and (route.redirect or route.direct_response):
        yield rules.conflict(f"{path}.rewrite", "expected no rewrite with a redirect or a direct response")
    if route.fault and route.redirect:
        yield rules.conflict(f"{path}.fault", "expected no fault with a redirect")


def _destinations(path: str, routes: Sequence[HTTPRouteDestination | RouteDestination]) -> Iterator[Finding]:
    for index, route in enumerate(routes):
        yield from check_destination(f"{path}[{index}].destination", route.destination)
        if route.weight < 0:
            yield rules.out_of_range(f"{path}[{index}].weight", "a weight from 0", route.weight)
        if isinstance(route, HTTPRouteDestination):
            yield from headers.check_headers(f"{path}[{index}].headers", route.headers)
    total = sum(route.weight for route in routes)
    if len(routes) > 1 and total == 0:
        yield rules.out_of_range(path, "weights that are not all 0", total)
    if total > MAX_UINT32:
        yield rules.out_of_range(path, f"weights of at most {MAX_UINT32} in all", total)


def check_destination(path: str, destination: Destination) -> Iterator[Finding]:
    """Yield what is wrong with where requests are sent."""
    if destination.host == ANY:
        yield rules.out_of_range(f"{path}.host", "one service", destination.host)
    yield from rules.host_name(f"{path}.host", destination.host)
    if destination.subset and not is_label(destination.subset):
        yield rules.out_of_range(f"{path}.subset", "the name of a subset: letters, digits and dashes", destination.subset)
    if destination.port is not None:
        yield from rules.port_number(f"{path}.port.number", destination.port.number)


def _connections(path: str, conditions: Sequence[ConnectionMatch], routes: Sequence[RouteDestination]) -> Iterator[Finding]:
    if not routes:
        yield rules.required(f"{path}.route", "at least one destination")
    yield from _destinations(f"{path}.route", routes)
    for index, condition in enumerate(conditions):
        condition_path = f"{path}.match[{index}]"
        if condition.port:
            yield from rules.port_number(f"{condition_path}.port", condition.port)
        for subnet_index, subnet in enumerate(condition.destination_subnets):
            yield from rules.subnet(f"{condition_path}.destinationSubnets[{subnet_index}]", subnet)
        yield from rules.labels(f"{condition_path}.sourceLabels", condition.source_labels)
        yield from rules.gateways(f"{condition_path}.gateways", condition.gateways)
        if condition.source_namespace and not is_label(condition.source_namespace):
            yield rules.out_of_range(f"{condition_path}.sourceNamespace", "a namespace", condition.source_namespace)


def _tls_matches(path: str, conditions: Sequence[TLSMatchAttributes], hosts: Sequence[str]) -> Iterator[Finding]:
    if not conditions:
        yield rules.required(f"{path}.match", "at least one condition")
    for index, condition in enumerate(conditions):
        hosts_path = f"{path}.match[{index}].sniHosts"
        if not condition.sni_hosts:
            yield rules.required(hosts_path, "at least one host")
        for host_index, name in enumerate(condition.sni_hosts):
            yield from _sni(f"{hosts_path}[{host_index}]", name, hosts)


def _sni(path: str, name: str, hosts: Sequence[str]) -> Iterator[Finding]:
    if is_ip(name):
        yield rules.warning(path, "Ineffective", "most clients send no server name where they connect to an IP address")
    elif not _is_generated(name) and (error := host_error(name)):
        yield Finding(path, rules.OUT_OF_RANGE, error)
    elif not any(is_covered_by(name, host) for host in hosts):
        yield rules.out_of_range(path, "one of the VirtualService's hosts, or a name below one", name)
