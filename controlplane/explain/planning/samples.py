"""Requests and connections that try out what a proxy has: one for each condition that its routes and chains can tell apart."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import NamedTuple

from envoy.config.listener.v3.listener_pb2 import Listener
from envoy.config.route.v3.route_components_pb2 import HeaderMatcher, QueryParameterMatcher, Route, RouteMatch, VirtualHost
from envoy.type.matcher.v3.string_pb2 import StringMatcher

from controlplane.simulation.matching.head import Head
from controlplane.simulation.requests.matches import misfit
from controlplane.simulation.traffic import Address, ClientConnection, FirstBytes, PlainHttp, RawBytes, Request, TlsHello

MOST_DOMAINS = 2  # of one virtual host
_ANYWHERE = {"0.0.0.0": "203.0.113.1", "::": "2001:db8::1"}
_CLIENT = Address("192.0.2.1", 40000)


class Place(NamedTuple):
    """How clients come to a proxy: where iptables bring their connections, ``None`` where none do."""

    redirected_to: Address | None


def route_heads(hosts: Iterable[VirtualHost]) -> Iterator[Head]:
    """Yield the heads of requests for ``hosts``: one that each route takes if none before it does, and one that asks nothing."""
    for host in hosts:
        for domain in host.domains[:MOST_DOMAINS]:
            authority = _named(domain)
            yield Head(method="GET", scheme="http", authority=authority, path="/", headers=_SCHEME)
            for route in host.routes:
                head = _fitting(route, authority)
                if not misfit(route.match, head):
                    yield head


_SCHEME = (("x-forwarded-proto", "http"),)


def _named(domain: str) -> str:
    if domain == "*":
        return "other.example"
    if domain.startswith("*"):
        return f"any{domain[1:]}"
    return f"{domain[:-1]}any" if domain.endswith("*") else domain


def _fitting(route: Route, authority: str) -> Head:
    """Return a head that fits ``route``, as far as one can be made up."""
    match = route.match
    head = Head(method="GET", scheme="http", authority=authority, path=_path(match), headers=_SCHEME)
    for matcher in match.headers:
        value = _header_value(matcher)
        if value is None:
            continue
        match matcher.name:
            case ":method":
                head = replace(head, method=value)
            case ":authority":
                head = replace(head, authority=value)
            case ":scheme" | ":path":
                continue
            case name:
                head = replace(head, headers=(*head.headers, (name.lower(), value)))
    query = "&".join(pair for each in match.query_parameters if (pair := _parameter(each)))
    return replace(head, path=f"{head.path}?{query}") if query else head


def _path(match: RouteMatch) -> str:
    match match.WhichOneof("path_specifier"):
        case "prefix":
            return match.prefix or "/"
        case "path":
            return match.path
        case "path_separated_prefix":
            return f"{match.path_separated_prefix}/x"
        case "safe_regex":
            return _example(match.safe_regex.regex)
        case _:
            return "/"


def _header_value(matcher: HeaderMatcher) -> str | None:
    """Return a value that ``matcher`` takes, ``None`` for none at all."""
    if matcher.invert_match:
        return None
    match matcher.WhichOneof("header_match_specifier"):
        case "string_match":
            return _text(matcher.string_match)
        case "present_match":
            return "x" if matcher.present_match else None
        case "range_match":
            return str(matcher.range_match.start)
        case _:
            return "x"


def _parameter(matcher: QueryParameterMatcher) -> str:
    match matcher.WhichOneof("query_parameter_match_specifier"):
        case "string_match":
            return f"{matcher.name}={_text(matcher.string_match)}"
        case "present_match":
            return f"{matcher.name}=x" if matcher.present_match else ""
        case _:
            return f"{matcher.name}=x"


def _text(matcher: StringMatcher) -> str:
    match matcher.WhichOneof("match_pattern"):
        case "exact":
            return matcher.exact
        case "prefix":
            return f"{matcher.prefix}x"
        case "suffix":
            return f"x{matcher.suffix}"
        case "contains":
            return matcher.contains
        case _:
            return _example(matcher.safe_regex.regex)


def _example(regex: str) -> str:
    """Return a text that ``regex`` takes, for the simple ones that people write; whether it does is tried by who asks."""
    text = re.sub(r"\[([^\]\\^-])[^\]]*\][+*?]?", r"\1", regex.removeprefix("^").removesuffix("$"))
    text = re.sub(r"\(\?:?([^|()]*)[^()]*\)[+*?]?", r"\1", re.sub(r"\(([^|()?]*)[^()]*\)[+*?]?", r"\1", text))
    text = re.sub(r"\.[+*]", "x", re.sub(r"\\d[+*]?", "1", re.sub(r"\\w[+*]?", "w", text)))
    return re.sub(r"\\(.)", r"\1", text)


def request_to(head: Head, port: int, place: Place) -> Request:
    """Return the request with ``head`` as it comes to ``port``."""
    family = "::" if place.redirected_to is not None and ":" in place.redirected_to.ip else "0.0.0.0"
    connection = ClientConnection(
        source=_CLIENT, destination=Address(_ANYWHERE[family], port), first_bytes=PlainHttp(), redirected_to=place.redirected_to
    )
    headers = tuple(header for header in head.headers if header[0] != "x-forwarded-proto")
    return Request(connection=connection, authority=head.authority, path=head.path, method=head.method, headers=headers)


def connections_to(listener: Listener, place: Place) -> Iterator[ClientConnection]:
    """Yield connections to the address of ``listener``: with bytes of no protocol, and with each server name that it tells apart."""
    bound = listener.address.socket_address
    if not bound.port_value or (place.redirected_to is not None and bound.port_value == place.redirected_to.port):
        return
    target = Address(_ANYWHERE.get(bound.address, bound.address), bound.port_value)
    names = dict.fromkeys(name for chain in listener.filter_chains for name in chain.filter_chain_match.server_names)
    begun: list[FirstBytes] = [RawBytes(), *(TlsHello(_named(name)) for name in names)]
    for first_bytes in begun:
        yield ClientConnection(source=_CLIENT, destination=target, first_bytes=first_bytes, redirected_to=place.redirected_to)
