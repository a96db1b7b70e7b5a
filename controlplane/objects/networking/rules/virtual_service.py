"""What a VirtualService must keep to.

https://istio.io/latest/docs/reference/config/networking/virtual-service/
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from controlplane.model.cluster_names import OUTBOUND
from controlplane.model.hosts import ANY, is_covered_by, is_ip
from controlplane.objects.networking.rules import headers, http_actions
from controlplane.objects.networking.rules.http_match import check_match, unreachable_routes
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


def check(value: VirtualService) -> Iterator[Finding]:
    """Yield what is wrong with ``value``."""
    spec = value.spec
    yield from _hosts(spec)
    yield from rules.gateways("spec.gateways", spec.gateways)
    if not (spec.http or spec.tcp or spec.tls):
        yield rules.required("spec", "at least one of http, tls and tcp")
    claims = not spec.hosts or any(name != rules.MESH for name in spec.gateways)
    for at, route in enumerate(spec.http):
        yield from _http(f"spec.http[{at}]", route, delegate=not spec.hosts, claims=claims)
    yield from unreachable_routes(spec.http)
    for at, tls in enumerate(spec.tls):
        yield from _tls_matches(f"spec.tls[{at}]", tls.match, spec.hosts)
        yield from _connections(f"spec.tls[{at}]", tls.match, tls.route)
    for at, tcp in enumerate(spec.tcp):
        yield from _connections(f"spec.tcp[{at}]", tcp.match, tcp.route)
    yield from rules.export_to("spec.exportTo", spec.export_to, value.meta.namespace)


def _hosts(spec: VirtualServiceSpec) -> Iterator[Finding]:
    if not spec.hosts:
        yield rules.warning("spec.hosts", "NotTranslated", "delegates (without hosts) are not translated yet: this one has no effect")
        for name, given in (("gateways", spec.gateways), ("tls", spec.tls), ("tcp", spec.tcp)):
            if given:
                yield rules.conflict(f"spec.{name}", "expected hosts: without any this is a delegate, which has http routes alone")
    in_mesh = not spec.gateways or rules.MESH in spec.gateways
    generated = bool(spec.tls) and any(name != rules.MESH for name in spec.gateways)
    for at, host in enumerate(spec.hosts):
        path = f"spec.hosts[{at}]"
        if in_mesh and host == ANY:
            yield rules.out_of_range(path, "a host: '*' alone is for gateways", host)
        elif not is_ip(host) and not (generated and _is_generated(host)):
            yield from rules.host_name(path, host)
    yield from _overlaps(spec.hosts)


def _overlaps(hosts: Sequence[str]) -> Iterator[Finding]:
    """Yield which of ``hosts`` another covers; by the ends of names, as there may be very many."""
    ends: dict[str, int] = {}
    names: dict[str, int] = {}
    for at, host in enumerate(hosts):
        (ends if host.startswith(ANY) else names).setdefault(host.removeprefix(ANY), at)
    for at, host in enumerate(hosts):
        name = host.removeprefix(ANY)[-MAX_HOST:]
        twice = names.get(host, at)
        covering = (other for start in range(len(name) + 1) if (other := ends.get(name[start:], at)) != at)
        other = twice if twice != at else next(covering, at)
        if other != at:
            both = f"{for_message(host)} and {for_message(hosts[other])}"
            yield rules.conflict(f"spec.hosts[{max(at, other)}]", f"expected hosts that do not overlap: {both} do")


def _is_generated(host: str) -> bool:
    """Return whether ``host`` is a cluster's name as a server name: ``outbound_.PORT_.SUBSET_.HOST``."""
    direction, _, rest = host.partition("_.")
    parts = rest.split("_.")
    return direction == OUTBOUND and len(parts) == 3 and parts[0].isdecimal() and is_fqdn(parts[2])


def _http(path: str, route: HTTPRoute, *, delegate: bool, claims: bool) -> Iterator[Finding]:
    yield from _exclusive(path, route, delegate=delegate)
    for at, match in enumerate(route.match):
        yield from check_match(f"{path}.match[{at}]", match, claims=claims)
    yield from _destinations(f"{path}.route", route.route)
    yield from http_actions.check(path, route)
    for at, mirror in enumerate(route.mirrors):
        yield from check_destination(f"{path}.mirrors[{at}].destination", mirror.destination)
    if route.mirror:
        yield from check_destination(f"{path}.mirror", route.mirror)


def _exclusive(path: str, route: HTTPRoute, *, delegate: bool) -> Iterator[Finding]:
    """Yield what is wrong with the kinds of answer that ``route`` combines; of a ``delegate`` it may not delegate again."""
    kinds = (
        ("route", bool(route.route)),
        ("redirect", route.redirect is not None),
        ("directResponse", route.direct_response is not None),
        ("delegate", route.delegate is not None),
    )
    said = [name for name, given in kinds if given]
    if route.delegate is not None and delegate:
        yield rules.conflict(f"{path}.delegate", "expected no delegate in a delegate")
    if not said:
        yield rules.required(path, "one of route, redirect, directResponse and delegate")
    if len(said) > 1:
        yield rules.conflict(path, f"expected one of {' and '.join(said)}, found both")
    if route.rewrite and (route.redirect or route.direct_response):
        yield rules.conflict(f"{path}.rewrite", "expected no rewrite with a redirect or a direct response")
    if route.fault and route.redirect:
        yield rules.conflict(f"{path}.fault", "expected no fault with a redirect")


def _destinations(path: str, routes: Sequence[HTTPRouteDestination | RouteDestination]) -> Iterator[Finding]:
    for at, each in enumerate(routes):
        yield from check_destination(f"{path}[{at}].destination", each.destination)
        if each.weight < 0:
            yield rules.out_of_range(f"{path}[{at}].weight", "a weight from 0", each.weight)
        if isinstance(each, HTTPRouteDestination):
            yield from headers.check_headers(f"{path}[{at}].headers", each.headers, pseudo=())
    total = sum(each.weight for each in routes)
    if len(routes) > 1 and total == 0:
        yield rules.out_of_range(path, "weights that are not all 0", total)
    if total > MAX_UINT32:
        yield rules.out_of_range(path, f"weights of at most {MAX_UINT32} in all", total)


def check_destination(path: str, each: Destination) -> Iterator[Finding]:
    """Yield what is wrong with where requests are sent."""
    if each.host == ANY:
        yield rules.out_of_range(f"{path}.host", "one service", each.host)
    yield from rules.host_name(f"{path}.host", each.host)
    if each.subset and not is_label(each.subset):
        yield rules.out_of_range(f"{path}.subset", "the name of a subset: letters, digits and dashes", each.subset)
    if each.port is not None:
        yield from rules.port_number(f"{path}.port.number", each.port.number)


def _connections(path: str, match: Sequence[ConnectionMatch], routes: Sequence[RouteDestination]) -> Iterator[Finding]:
    if not routes:
        yield rules.required(f"{path}.route", "at least one destination")
    yield from _destinations(f"{path}.route", routes)
    for at, each in enumerate(match):
        here = f"{path}.match[{at}]"
        if each.port:
            yield from rules.port_number(f"{here}.port", each.port)
        for index, subnet in enumerate(each.destination_subnets):
            yield from rules.subnet(f"{here}.destinationSubnets[{index}]", subnet)
        yield from rules.labels(f"{here}.sourceLabels", each.source_labels)
        yield from rules.gateways(f"{here}.gateways", each.gateways)
        if each.source_namespace and not is_label(each.source_namespace):
            yield rules.out_of_range(f"{here}.sourceNamespace", "a namespace", each.source_namespace)


def _tls_matches(path: str, match: Sequence[TLSMatchAttributes], hosts: Sequence[str]) -> Iterator[Finding]:
    if not match:
        yield rules.required(f"{path}.match", "at least one condition")
    for at, each in enumerate(match):
        here = f"{path}.match[{at}].sniHosts"
        if not each.sni_hosts:
            yield rules.required(here, "at least one host")
        for index, name in enumerate(each.sni_hosts):
            yield from _sni(f"{here}[{index}]", name, hosts)


def _sni(path: str, name: str, hosts: Sequence[str]) -> Iterator[Finding]:
    if is_ip(name):
        yield rules.warning(path, "Ineffective", "most clients send no server name where they connect to an IP address")
    elif not _is_generated(name) and (fault := host_error(name)):
        yield Finding(path, rules.OUT_OF_RANGE, fault)
    elif not any(is_covered_by(name, host) for host in hosts):
        yield rules.out_of_range(path, "one of the VirtualService's hosts, or a name below one", name)
