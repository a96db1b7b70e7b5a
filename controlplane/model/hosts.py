"""Host names and their wildcards: ``*``, or ``*.`` before a domain. They are in lower case: objects are read so."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_address

ANY = "*"


def hosts_overlap(first: str, second: str) -> bool:
    """Return whether some host is meant by both ``first`` and ``second``, either of which may be a wildcard."""
    return is_covered_by(first, second) or is_covered_by(second, first)


def is_covered_by(host: str, pattern: str) -> bool:
    """Return whether every host that ``host`` means is meant by ``pattern``, either of which may be a wildcard."""
    if pattern.startswith(ANY):
        return host.removeprefix(ANY).endswith(pattern[1:])
    return host == pattern


def common_hosts(first_hosts: Iterable[str], second_hosts: Iterable[str]) -> tuple[str, ...]:
    """Return the hosts that both ``first_hosts`` and ``second_hosts`` mean, in the order of ``first_hosts``, the narrower of each pair."""
    second_hosts = tuple(second_hosts)
    pairs = ((first, second) for first in first_hosts for second in second_hosts)
    common = (first if is_covered_by(first, second) else second for first, second in pairs if hosts_overlap(first, second))
    return tuple(dict.fromkeys(common))


def hosts_for_namespace(hosts: Iterable[str], namespace: str) -> tuple[str, ...]:
    """Return the hosts of ``hosts`` (``namespace/host`` or ``host``) that are for ``namespace``."""
    selected = []
    for entry in hosts:
        wanted, _, host = entry.rpartition("/")
        if wanted in ("", ANY, namespace):
            selected.append(host)
    return tuple(selected)


def most_specific(patterns: Iterable[str], host: str) -> str | None:
    """Return the narrowest of ``patterns`` that covers ``host``, itself perhaps a wildcard; ``None`` where none does."""
    covering = [pattern for pattern in patterns if is_covered_by(host, pattern)]
    return max(covering, key=lambda pattern: (pattern == host, not pattern.startswith(ANY), len(pattern)), default=None)


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
