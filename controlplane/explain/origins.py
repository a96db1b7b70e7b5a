"""The objects and fields behind what a proxy has: by what the engine has read for it, and by what its messages say themselves."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import TypeAlias

from envoy.config.route.v3.route_components_pb2 import Route, VirtualHost

from controlplane.explain.explanation import FieldOrigin
from controlplane.mesh.mesh import Mesh
from controlplane.mesh.routing.istio_matches import request_match
from controlplane.mesh.sessions import Session
from controlplane.model.keys import AUTHORIZATION_POLICY, VIRTUAL_SERVICE, GroupKind, Key
from controlplane.objects.locations import Location
from controlplane.objects.networking.virtual_service import HTTPMatchRequest, HTTPRoute, VirtualService
from controlplane.translate.matches import route_match
from controlplane.translate.routes.virtual_hosts import origins

MOST_ORIGINS = 4  # of one step
_POLICY = re.compile(r"ns\[(.*)\]-policy\[(.*)\]-rule\[([0-9]+)\]")
_PORT = re.compile(r"(?:^|\D)([0-9]{1,5})$")
Locate: TypeAlias = Callable[[Key, str], Location | None]


@dataclass(frozen=True, slots=True)
class Origins:
    """Where what a proxy has comes from: which objects of ``mesh``, and by ``locate`` where these are written."""

    mesh: Mesh
    locate: Locate

    def of(self, key: Key, field: str) -> FieldOrigin:
        """Return the ``field`` of the object ``key``."""
        return FieldOrigin(key, field, self.locate(key, field))

    def of_resource(
        self, session: Session, type_url: str, name: str, kinds: AbstractSet[GroupKind] | None = None
    ) -> tuple[FieldOrigin, ...]:
        """Return what ``name``, which the proxy of ``session`` has, was made from; of ``kinds`` alone where they are given."""
        made = self.mesh.attribution.made_of(session.view.tables, type_url, name)
        return tuple(self.of(each.key, each.field) for each in made if kinds is None or each.key.group_kind in kinds)[:MOST_ORIGINS]

    def of_policy(self, name: str) -> tuple[FieldOrigin, ...]:
        """Return the rule that a policy of an RBAC filter, called ``name``, was made of."""
        found = _POLICY.fullmatch(name)
        return (self.of(AUTHORIZATION_POLICY.key(found[1], found[2]), f"spec.rules[{found[3]}]"),) if found else ()

    def of_route(self, table: str, route: Route) -> tuple[FieldOrigin, ...]:
        """Return the rule of a VirtualService that ``route`` of ``table`` was made of; nothing where nobody has written it."""
        return tuple(self._written(table, route))

    def _written(self, table: str, route: Route) -> Iterator[FieldOrigin]:
        for namespace, name in origins(VirtualHost(routes=[route])):
            key = VIRTUAL_SERVICE.key(namespace, name)
            virtual_service = self.mesh.object(key)
            field = _field(virtual_service.spec.http, table, route) if isinstance(virtual_service, VirtualService) else ""
            yield self.of(key, field or "spec.http")


def _field(rules: Iterable[HTTPRoute], table: str, route: Route) -> str:
    """Return which of ``rules`` has become ``route``: one whose conditions are the same, and that is for the port of ``table``."""
    found = _PORT.search(table)
    port = int(found[1]) if found else 0
    for index, rule in enumerate(rules):
        for position, match in enumerate(rule.match or (HTTPMatchRequest(),)):
            name = ".".join(filter(None, (rule.name, match.name)))
            if match.port in {0, port} and route.name in {name, ""} and _is(match, route):
                return f"spec.http[{index}].match[{position}]" if len(rule.match) > 1 else f"spec.http[{index}]"
    return ""


def _is(match: HTTPMatchRequest, route: Route) -> bool:
    return route_match(request_match(match)) == route.match
