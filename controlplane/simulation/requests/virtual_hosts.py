"""Which virtual host of a route table a request gets.

By its authority, without case: the exact name first, then the longest wildcard at the beginning (``*.example.com``), then the longest at
the end (``example.*``), then ``*``.
https://www.envoyproxy.io/docs/envoy/latest/api-v3/config/route/v3/route_components.proto#config-route-v3-virtualhost (``domains``)
"""

from __future__ import annotations

from collections.abc import Iterable

from envoy.config.route.v3.route_components_pb2 import VirtualHost
from envoy.config.route.v3.route_pb2 import RouteConfiguration

from controlplane.simulation.matching.head import Head

_ANY = "*"


def chosen_virtual_host(table: RouteConfiguration, hosts: Iterable[VirtualHost], head: Head) -> tuple[VirtualHost | None, str]:
    """Return which of ``hosts``, those of ``table``, a request with ``head`` gets, and why."""
    authority = head.authority
    if table.vhost_header:
        value = head.value(table.vhost_header)
        if value is None:
            return None, f"it has no header {table.vhost_header}"
        authority = value
    if table.ignore_port_in_host_matching:
        authority = without_port(authority)
    name = authority.lower()
    by_domain = {domain.lower(): host for host in hosts for domain in host.domains}
    for domain in (name, *_wildcards(by_domain, name), _ANY):
        if domain in by_domain:
            return by_domain[domain], f"{authority} fits its domain {domain}"
    return None, f"no virtual host has a domain that {authority} fits"


def without_port(authority: str) -> str:
    """Return ``authority`` without its port; an IPv6 address is one only in brackets."""
    host, colon, _ = authority.rpartition(":")
    return host if colon and authority.rfind("]") < len(host) else authority


def _wildcards(domains: Iterable[str], name: str) -> list[str]:
    """Return the wildcards of ``domains`` that ``name`` fits, in the order in which Envoy tries them.

    A ``*`` stands for one character at least.
    """
    suffixes = [
        each for each in domains if each.startswith(_ANY) and each != _ANY and len(each) - 1 < len(name) and name.endswith(each[1:])
    ]
    prefixes = [
        each
        for each in domains
        if each.endswith(_ANY) and not each.startswith(_ANY) and len(each) - 1 < len(name) and name.startswith(each[:-1])
    ]
    return [*sorted(suffixes, key=len, reverse=True), *sorted(prefixes, key=len, reverse=True)]
