"""What the hosts of an egress listener import: services and VirtualServices, by namespace and host.

https://istio.io/latest/docs/reference/config/networking/sidecar/#IstioEgressListener
"""

from __future__ import annotations

from collections.abc import Iterable

from controlplane.model.hosts import ANY, hosts_overlap, is_covered_by

EVERYTHING = ("*/*",)
_OWN = "."
_EXCLUDED = "~"


def resolved_egress_hosts(written: Iterable[str], namespace: str) -> tuple[str, ...]:
    """Return the hosts ``written`` for a proxy of ``namespace``, as ``namespace/host`` with ``.`` resolved, sorted.

    ``~/*`` imports nothing; ``~/host`` takes ``host`` away from what the others import.
    """
    hosts = set()
    for text in written:
        wanted, _, host = text.rpartition("/")
        hosts.add(f"{namespace if wanted == _OWN else wanted or ANY}/{host}")
    if len(hosts) > 1:
        hosts.discard(f"{_EXCLUDED}/{ANY}")
    excludes = any(host.startswith(_EXCLUDED) for host in hosts)
    return EVERYTHING if EVERYTHING[0] in hosts and not excludes else tuple(sorted(hosts))


def imported_namespaces(hosts: tuple[str, ...]) -> set[str] | None:
    """Return the namespaces that ``hosts`` import from; ``None``: from every one."""
    wanted = {entry.partition("/")[0] for entry in hosts} - {_EXCLUDED}
    return None if ANY in wanted else wanted


def imports_service(hosts: tuple[str, ...], namespace: str, host: str) -> bool:
    """Return whether ``hosts`` import the service ``host`` of ``namespace``: one names it or covers it, and none excludes it."""
    imported = False
    for entry in hosts:
        wanted, _, pattern = entry.partition("/")
        if wanted == _EXCLUDED and is_covered_by(host, pattern):
            return False
        imported = imported or (wanted in (ANY, namespace) and is_covered_by(host, pattern))
    return imported


def imports_routes(hosts: tuple[str, ...], namespace: str, routed: Iterable[str]) -> bool:
    """Return whether ``hosts`` import a VirtualService of ``namespace`` for the hosts ``routed``: as a whole, where one of these is meant.

    A wildcard on either side may mean the other.
    """
    if hosts == EVERYTHING:
        return True
    wanted_patterns = [entry.partition("/")[::2] for entry in hosts]
    excluded = [pattern for wanted, pattern in wanted_patterns if wanted == _EXCLUDED]
    patterns = [pattern for wanted, pattern in wanted_patterns if wanted in (ANY, namespace)]
    return any(
        hosts_overlap(host, pattern)
        for host in routed
        if not any(is_covered_by(host, exclusion) for exclusion in excluded)
        for pattern in patterns
    )
