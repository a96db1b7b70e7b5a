"""Virtual hosts as fragments: made once, and put into a RouteConfiguration or sent as resources of their own."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import NamedTuple

from envoy.config.route.v3.route_components_pb2 import Route, VirtualHost
from envoy.config.route.v3.route_pb2 import RouteConfiguration

from controlplane.envoy.packing import encode
from controlplane.envoy.type_urls import RDS, VHDS
from controlplane.incremental.database import Failed
from controlplane.ir.rules import HttpRule, Rank, RequestPort
from controlplane.mesh.publish.encode import refuse_invalid
from controlplane.mesh.publish.parts import Stopgap
from controlplane.model.deferrals import NONE_MISSING, MissingDestination, MissingDestinations
from controlplane.translate.references import references
from controlplane.translate.routes.virtual_hosts import broken_host, operation, shared_route, virtual_host
from controlplane.xds.resource import Assembly, Part, Reference, Resource, assembled, field, resource


class EncodedVirtualHost(NamedTuple):
    """A virtual host without name and domains, encoded, and what it refers to: shared by every table that holds it."""

    encoded: bytes
    uses: tuple[Reference, ...]
    missing: MissingDestinations = NONE_MISSING


_BROKEN = EncodedVirtualHost(encode(broken_host()), ())


class EncodedRoute(NamedTuple):
    """A route without its operation, encoded and checked: shared by every host that it stands in."""

    encoded: bytes
    operation: bytes | None  # after host and port; None: it has none
    uses: tuple[Reference, ...]
    rank: Rank
    missing: MissingDestinations


def encoded_routes(rules: Iterable[HttpRule], arrived_at: RequestPort) -> tuple[EncodedRoute, ...]:
    """Return ``rules`` as routes for requests that ``arrived_at`` a port. Raises InvalidResource."""
    routes = [(rule, shared_route(rule, arrived_at)) for rule in rules]
    probe = VirtualHost(name="any", domains=["*"], routes=[route for _, route in routes])
    refuse_invalid(VHDS, next((rule.origin for rule, _ in routes), ""), probe)
    return tuple(_encoded_route(rule, route) for rule, route in routes)


def _encoded_route(rule: HttpRule, route: Route) -> EncodedRoute:
    named = operation(rule)
    uses = references(VirtualHost(routes=[route]))
    return EncodedRoute(encode(route), None if named is None else named.encode(), uses, rule.rank, rule.missing)


def encoded_virtual_host(host: str, port: int, routes: Iterable[EncodedRoute], *, redirects: bool = False) -> EncodedVirtualHost:
    """Return the virtual host of ``routes`` to ``port`` of ``host``, without name and domains. Raises InvalidResource."""
    refuse_invalid(VHDS, host, VirtualHost(name=host, domains=[host]))
    place, uses = f"{host}:{port}".encode(), set[Reference]()
    encoded, missing = [], set[MissingDestination]()
    for route in routes:
        # of a VirtualHost routes are 3, of a Route the decorator is 5, of that the operation is 1
        decorator = b"" if route.operation is None else field(5, field(1, place + route.operation))
        encoded.append(field(3, route.encoded + decorator))
        uses.update(route.uses)
        missing |= route.missing
    whole = b"".join(encoded) + encode(virtual_host(redirects=redirects))
    return EncodedVirtualHost(whole, tuple(sorted(uses)), frozenset(missing))


def unless_failed(body: EncodedVirtualHost | Failed) -> EncodedVirtualHost:
    """Return ``body``; one that answers 503 where it could not be worked out: the others of its table go on."""
    return _BROKEN if isinstance(body, Failed) else body


def as_own_resource(table: str, name: str, domains: tuple[str, ...], body: EncodedVirtualHost | Failed) -> Resource | Stopgap:
    """Return the virtual host ``name`` of the RouteConfiguration ``table`` as a resource of its own."""
    whole, usable = f"{table}/{name}", unless_failed(body)
    made = resource(VHDS, whole, virtual_host_head(whole, domains) + usable.encoded, uses=usable.uses, exclusive=frozenset(domains))
    made = replace(made, missing=usable.missing)
    return Stopgap(made) if isinstance(body, Failed) else made


def with_virtual_hosts(message: RouteConfiguration, hosts: Iterable[tuple[str, tuple[str, ...], EncodedVirtualHost]]) -> Resource:
    """Return ``message`` with ``hosts`` (name, domains, and the rest of each) before its own. Raises InvalidResource."""
    table = message.name
    refuse_invalid(RDS, table, message)
    parts = tuple(
        Part(name, virtual_host_head(name, domains), usable.encoded, usable.uses, frozenset(domains), usable.missing)
        for name, domains, usable in hosts
    )
    uses = references(message)
    message.ClearField("name")
    # RouteConfiguration: name = 1, virtual_hosts = 2; the catch-all, in the rest, stays last
    return assembled(RDS, table, Assembly(field(1, table.encode()), parts, encode(message), _BROKEN.encoded, uses))


def virtual_host_head(name: str, domains: tuple[str, ...]) -> bytes:
    """Return the name and the domains of a virtual host, encoded."""
    # VirtualHost: name = 1, domains = 2, and the rest as `EncodedVirtualHost` has it
    return field(1, name.encode()) + b"".join(field(2, domain.encode()) for domain in domains)
