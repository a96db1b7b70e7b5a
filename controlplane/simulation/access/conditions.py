"""Whether what RBAC filters ask of a client (principals) and of what it asks for (permissions) holds.

What depends on something that is not simulated is not known, and says so.
https://www.envoyproxy.io/docs/envoy/latest/api-v3/config/rbac/v3/rbac.proto
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from ipaddress import ip_address, ip_network

from envoy.config.core.v3.address_pb2 import CidrRange
from envoy.config.rbac.v3.rbac_pb2 import Permission, Principal
from envoy.config.route.v3.route_components_pb2 import HeaderMatcher
from envoy.type.matcher.v3.string_pb2 import StringMatcher

from controlplane.simulation.access.combined import every, other, some
from controlplane.simulation.access.facts import AccessFacts, ConditionResult
from controlplane.simulation.access.metadata import metadata_fits
from controlplane.simulation.matching.headers import header_fits, header_in_words, named
from controlplane.simulation.matching.texts import in_words, text_fits


def principal_holds(principal: Principal, facts: AccessFacts) -> ConditionResult:
    """Return whether whom ``facts`` are about is ``principal``."""
    match principal.WhichOneof("identifier"):
        case "any":
            return ConditionResult(principal.any, "")
        case "and_ids":
            return every(principal_holds(each, facts) for each in principal.and_ids.ids)
        case "or_ids":
            return some(principal_holds(each, facts) for each in principal.or_ids.ids)
        case "not_id":
            return other(principal_holds(principal.not_id, facts))
        case kind:
            of_kind = _OF_PRINCIPALS.get(kind or "")
            return of_kind(principal, facts) if of_kind else _not_simulated(kind)


def permission_holds(permission: Permission, facts: AccessFacts) -> ConditionResult:
    """Return whether what ``facts`` are about asks for ``permission``."""
    match permission.WhichOneof("rule"):
        case "any":
            return ConditionResult(permission.any, "")
        case "and_rules":
            return every(permission_holds(each, facts) for each in permission.and_rules.rules)
        case "or_rules":
            return some(permission_holds(each, facts) for each in permission.or_rules.rules)
        case "not_rule":
            return other(permission_holds(permission.not_rule, facts))
        case kind:
            of_kind = _OF_PERMISSIONS.get(kind or "")
            return of_kind(permission, facts) if of_kind else _not_simulated(kind)


def _not_simulated(kind: str | None) -> ConditionResult:
    return ConditionResult(None, f"it depends on {(kind or 'nothing').replace('_', ' ')}, which is not simulated")


def _is_peer(matcher: StringMatcher, facts: AccessFacts) -> ConditionResult:
    if not facts.peer:
        return ConditionResult(holds=False, why="the client has shown no certificate")
    return _text("client", facts.peer, matcher)


def _text(what: str, value: str, matcher: StringMatcher) -> ConditionResult:
    fits = text_fits(matcher, value)
    return ConditionResult(fits, f"the {what} is {value}" if fits else f"the {what} is {value or 'empty'}, and not {in_words(matcher)}")


def _compared(what: str, value: str, wanted: str) -> ConditionResult:
    return ConditionResult(value == wanted, f"the {what} is {value}" if value == wanted else f"the {what} is {value}, and not {wanted}")


def _in_block(what: str, ip: str, block: CidrRange) -> ConditionResult:
    network = ip_network(f"{block.address_prefix}/{block.prefix_len.value}", strict=False)
    inside = ip_address(ip) in network
    return ConditionResult(inside, f"the {what} {ip} is in {network}" if inside else f"the {what} {ip} is not in {network}")


def _header(matcher: HeaderMatcher, facts: AccessFacts) -> ConditionResult:
    what = named(matcher.name)
    if facts.head is None:
        return ConditionResult(holds=False, why=f"it is a connection without requests, and {what} is asked for")
    value = facts.head.value(matcher.name)
    fits = header_fits(matcher, facts.head)
    found = "missing" if value is None else value or "empty"
    return ConditionResult(fits, f"{what} is {found}" if fits else f"{what} is {found}, and not {header_in_words(matcher)}")


def _path(matcher: StringMatcher, facts: AccessFacts) -> ConditionResult:
    if facts.head is None or not facts.head.path:
        return ConditionResult(holds=False, why="it has no path")
    return _text("path", re.split("[?#]", facts.head.path, maxsplit=1)[0], matcher)


_OF_PRINCIPALS: Mapping[str, Callable[[Principal, AccessFacts], ConditionResult]] = {
    "authenticated": lambda asked, facts: _is_peer(asked.authenticated.principal_name, facts),
    "direct_remote_ip": lambda asked, facts: _in_block("address that it comes from", facts.direct_ip, asked.direct_remote_ip),
    "remote_ip": lambda asked, facts: _in_block("client's address", facts.remote_ip, asked.remote_ip),
    "header": lambda asked, facts: _header(asked.header, facts),
    "sourced_metadata": lambda asked, facts: metadata_fits(asked.sourced_metadata.metadata_matcher, facts.metadata),
}
_OF_PERMISSIONS: Mapping[str, Callable[[Permission, AccessFacts], ConditionResult]] = {
    "header": lambda asked, facts: _header(asked.header, facts),
    "url_path": lambda asked, facts: _path(asked.url_path.path, facts),
    "destination_ip": lambda asked, facts: _in_block("destination address", facts.local.ip, asked.destination_ip),
    "destination_port": lambda asked, facts: _compared("destination port", str(facts.local.port), str(asked.destination_port)),
    "requested_server_name": lambda asked, facts: _text("server name", facts.server_name, asked.requested_server_name),
    "sourced_metadata": lambda asked, facts: metadata_fits(asked.sourced_metadata.metadata_matcher, facts.metadata),
}
