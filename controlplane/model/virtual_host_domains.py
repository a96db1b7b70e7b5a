"""The domains by which a proxy's requests name a service."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv6Address, ip_address


def virtual_host_domains(
    host: str,
    *,
    dns_domain: str,
    vips: Iterable[str] = (),
    aliases: Iterable[str] = (),
    wildcard: bool = False,
) -> tuple[str, ...]:
    """Return the domains of ``host`` for a proxy whose DNS domain is ``dns_domain``: the host, its short forms, and ``vips``.

    Short forms leave out what both names end with. ``wildcard`` adds the names below the host (the pods of a headless service).
    """
    names = [name for alias in (host, *aliases) for name in _forms(alias, dns_domain)]
    if wildcard:
        names += [f"*.{name}" for name in names]
    return tuple(dict.fromkeys((*names, *(_literal(vip) for vip in vips))))


def _forms(host: str, dns_domain: str) -> list[str]:
    literal = _literal(host)
    if literal != host or _is_ip(host):
        return [literal]
    if host.startswith("*"):
        return [host]
    return [host, f"{host}.", *_short_forms(host, dns_domain)]


def _short_forms(host: str, dns_domain: str) -> list[str]:
    """Return ``host`` less what it shares with ``dns_domain``: of ``a.ns.svc.cluster.local`` seen from ``ns``, ``a a.ns.svc a.ns``."""
    host_labels, domain_labels = host.split("."), dns_domain.split(".")
    shared = 0
    while shared < min(len(host_labels) - 1, len(domain_labels)) and host_labels[-1 - shared] == domain_labels[-1 - shared]:
        shared += 1
    if not shared:
        return []
    unique = host_labels[: len(host_labels) - shared]
    if "svc" not in domain_labels:
        return [".".join(unique)] if shared == len(domain_labels) else [".".join(unique), ".".join((*unique, host_labels[len(unique)]))]
    svc = host_labels.index("svc") if "svc" in host_labels else -1
    if svc < 1 or shared < len(host_labels) - svc:
        return []
    with_svc, without = ".".join(host_labels[: svc + 1]), ".".join(host_labels[:svc])
    return [".".join(unique), with_svc, without] if len(unique) < svc else [without, with_svc]


def _literal(address: str) -> str:
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    return f"[{address}]" if isinstance(parsed, IPv6Address) else address


def _is_ip(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
