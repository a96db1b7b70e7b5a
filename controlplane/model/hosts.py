"""Host names and their wildcards: ``*``, or ``*.`` before a domain. Comparison is by case, as in Istio."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_address

ANY = "*"


def hosts_overlap(one: str, other: str) -> bool:
    """Return whether some host is meant by both ``one`` and ``other``, either of which may be a wildcard."""
    return is_covered_by(one, other) or is_covered_by(other, one)


def is_covered_by(host: str, pattern: str) -> bool:
    """Return whether every host that ``host`` means is meant by ``pattern``, either of which may be a wildcard."""
    if pattern.startswith(ANY):
        return host.removeprefix(ANY).endswith(pattern[1:])
    return host == pattern


def common_hosts(some: Iterable[str], others: Iterable[str]) -> tuple[str, ...]:
    """Return the hosts that both ``some`` and ``others`` mean, in the order of ``some``, the narrower of each pair."""
    theirs = tuple(others)
    pairs = ((one, other) for one in some for other in theirs)
    found = (one if is_covered_by(one, other) else other for one, other in pairs if hosts_overlap(one, other))
    return tuple(dict.fromkeys(found))


def hosts_for_namespace(hosts: Iterable[str], namespace: str) -> tuple[str, ...]:
    """Return the hosts of ``hosts`` (``namespace/host`` or ``host``) that are for ``namespace``."""
    found = []
    for each in hosts:
        wanted, _, host = each.rpartition("/")
        if wanted in ("", ANY, namespace):
            found.append(host)
    return tuple(found)


def most_specific(patterns: Iterable[str], host: str) -> str | None:
    """Return the narrowest of ``patterns`` that covers ``host``, itself perhaps a wildcard; ``None`` where none does."""
    covering = [each for each in patterns if is_covered_by(host, each)]
    return max(covering, key=lambda each: (each == host, not each.startswith(ANY), len(each)), default=None)


def resolve_short_name(host: str, namespace: str, domain: str) -> str:
    """Return ``host``, as an object of ``namespace`` names it, in full: a name without a dot is a service of that namespace.

    ``domain`` is the cluster's, ``cluster.local``; both may be empty. IP addresses and wildcards stay as they are.
    """
    if not host or "." in host or host.startswith(ANY) or is_ip(host):
        return host
    if not domain:
        return f"{host}.{namespace}" if namespace else host
    return ".".join(part for part in (host, namespace, "svc", domain) if part)


def is_ip(text: str) -> bool:
    """Return whether ``text`` is an IPv4 or IPv6 address, without a zone."""
    try:
        ip_address(text)
    except ValueError:
        return False
    return "%" not in text  # an address of one machine's own interfaces
