"""What a VirtualService must keep to. https://istio.io/latest/docs/reference/config/networking/virtual-service/"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from ipaddress import ip_network

from controlplane.model.hosts import matches
from controlplane.objects.names import is_dns_label
from controlplane.objects.review import Finding
from controlplane.objects.rules import common, http_actions
from controlplane.objects.rules.http_match import check_match, fallthrough
from controlplane.objects.virtual_service import (
    Destination,
    HTTPRoute,
    HTTPRouteDestination,
    L4MatchAttributes,
    RouteDestination,
    TLSMatchAttributes,
    VirtualService,
)

MESH = "mesh"
_WEIGHTS = 2**31 - 1


def check(value: VirtualService) -> Iterator[Finding]:
    """Yield what is wrong with ``value``."""
    spec = value.spec
    in_mesh = not spec.gateways or MESH in spec.gateways
    if not spec.hosts and (spec.gateways or spec.tcp or spec.tls):
        yield common.required("spec.hosts", "at least one host (only a delegate, with http routes alone, has none)")
    if not (spec.http or spec.tcp or spec.tls):
        yield common.required("spec", "at least one of http, tls and tcp")
    yield from _hosts(spec.hosts, in_mesh=in_mesh)
    for at, name in enumerate(spec.gateways):
        yield from _gateway(f"spec.gateways[{at}]", name)
    for at, route in enumerate(spec.http):
        yield from check_route(f"spec.http[{at}]", route, delegate=not spec.hosts)
    yield from fallthrough(spec.http)
    for kind, routes in (("tls", spec.tls), ("tcp", spec.tcp)):
        for at, l4 in enumerate(routes):
            yield from _l4(f"spec.{kind}[{at}]", l4.match, l4.route)
    yield from common.exports("spec.exportTo", spec.export_to)


def _hosts(hosts: Sequence[str], *, in_mesh: bool) -> Iterator[Finding]:
    for at, host in enumerate(hosts):
        yield from common.hosts(f"spec.hosts[{at}]", host, single_star=not in_mesh or host != "*" or len(hosts) == 1)
        if in_mesh and host == "*":
            yield common.out_of_range(f"spec.hosts[{at}]", "a host (for sidecars '*' alone takes every request)", host)
        for other in hosts[:at]:
            if matches(host, other):
                yield common.conflict(f"spec.hosts[{at}]", f"expected hosts that do not overlap: {host} and {other} do")


def _gateway(path: str, name: str) -> Iterator[Finding]:
    if name == MESH:
        return
    parts = name.split("/")
    if len(parts) > 2 or not all(part and (is_dns_label(part.replace(".", "-")) or part == ".") for part in parts):
        yield common.out_of_range(path, "'mesh', a gateway, or namespace/gateway", name)


def check_route(path: str, route: HTTPRoute, *, delegate: bool) -> Iterator[Finding]:
    """Yield what is wrong with the HTTP ``route`` at ``path``; of a ``delegate`` it may be delegated to, not delegate itself."""
    yield from _exclusive(path, route, delegate=delegate)
    for at, match in enumerate(route.match):
        yield from check_match(f"{path}.match[{at}]", match)
    yield from _destinations(f"{path}.route", route.route)
    yield from http_actions.check(path, route)
    for at, mirror in enumerate(route.mirrors):
        yield from destination(f"{path}.mirrors[{at}].destination", mirror.destination)
    if route.mirror:
        yield from destination(f"{path}.mirror", route.mirror)


def _exclusive(path: str, route: HTTPRoute, *, delegate: bool) -> Iterator[Finding]:
    said = [name for name, value in (("route", route.route), ("redirect", route.redirect), ("directResponse", route.direct_response)) if value]
    if route.delegate is not None:
        if delegate:
            yield common.conflict(f"{path}.delegate", "expected no delegate in a delegate")
        said.append("delegate")
    if not said:
        yield common.required(path, "one of route, redirect, directResponse and delegate")
    if len(said) > 1:
        yield common.conflict(path, f"expected one of {' and '.join(said)}, found both")
    if route.rewrite and (route.redirect or route.direct_response):
        yield common.conflict(f"{path}.rewrite", "expected no rewrite with a redirect or a direct response")
    if route.fault and route.redirect:
        yield common.conflict(f"{path}.fault", "expected no fault with a redirect")


def _destinations(path: str, routes: Sequence[HTTPRouteDestination | RouteDestination]) -> Iterator[Finding]:
    for at, each in enumerate(routes):
        yield from destination(f"{path}[{at}].destination", each.destination)
        if each.weight < 0:
            yield common.out_of_range(f"{path}[{at}].weight", "a weight from 0", each.weight)
        if isinstance(each, HTTPRouteDestination):
            yield from http_actions.check_headers(f"{path}[{at}].headers", each.headers)
    total = sum(each.weight for each in routes)
    if len(routes) > 1 and total == 0:
        yield common.out_of_range(path, "weights that are not all 0", total)
    if total > _WEIGHTS:
        yield common.out_of_range(path, f"weights of at most {_WEIGHTS} in all", total)


def destination(path: str, each: Destination) -> Iterator[Finding]:
    """Yield what is wrong with where requests are sent."""
    if each.host == "*":
        yield common.out_of_range(f"{path}.host", "one service", each.host)
    yield from common.hosts(f"{path}.host", each.host)
    if each.subset and not is_dns_label(each.subset.lower().replace("_", "-").replace(".", "-")):
        yield common.out_of_range(f"{path}.subset", "the name of a subset", each.subset)
    if each.port is not None:
        yield from common.ports(f"{path}.port.number", each.port.number)


def _l4(path: str, match: Sequence[L4MatchAttributes], routes: Sequence[RouteDestination]) -> Iterator[Finding]:
    if not routes:
        yield common.required(f"{path}.route", "at least one destination")
    yield from _destinations(f"{path}.route", routes)
    for at, each in enumerate(match):
        here = f"{path}.match[{at}]"
        if each.port:
            yield from common.ports(f"{here}.port", each.port)
        for index, subnet in enumerate(each.destination_subnets):
            yield from _subnet(f"{here}.destinationSubnets[{index}]", subnet)
        if isinstance(each, TLSMatchAttributes):
            yield from _sni(here, each.sni_hosts)
        yield from common.labels(f"{here}.sourceLabels", each.source_labels)


def _subnet(path: str, subnet: str) -> Iterator[Finding]:
    try:
        ip_network(subnet, strict=False)
    except ValueError:
        yield common.out_of_range(path, "an address or a CIDR block", subnet)


def _sni(path: str, names: Sequence[str]) -> Iterator[Finding]:
    if not names:
        yield common.required(f"{path}.sniHosts", "at least one host")
    for at, name in enumerate(names):
        yield from common.hosts(f"{path}.sniHosts[{at}]", name)
