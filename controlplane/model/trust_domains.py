"""Trust domains that are one mesh: its own, and the aliases that it had or that it takes for its own.

https://istio.io/latest/docs/reference/config/istio.mesh.v1alpha1/#MeshConfig (``trustDomainAliases``)
"""

from __future__ import annotations

from collections.abc import Iterable

SPIFFE_SCHEME = "spiffe://"
LOCAL = "cluster.local"  # in a policy this means the mesh's own trust domain, whatever it is called


def principals_with_aliases(principals: Iterable[str], trust_domains: tuple[str, ...]) -> tuple[str, ...]:
    """Return ``principals`` (``TRUST-DOMAIN/ns/NAMESPACE/sa/ACCOUNT``) with each of ``trust_domains`` for those that name one of them.

    The first of ``trust_domains`` is the mesh's own. ``*`` at the beginning of a trust domain stands for any text; ``*`` alone is every one
    already.
    """
    return tuple(dict.fromkeys(alias for principal in principals for alias in _aliases(principal, trust_domains)))


def uris_with_aliases(uris: Iterable[str], trust_domains: tuple[str, ...]) -> tuple[str, ...]:
    """Return ``uris``, and those of the same workload in each of ``trust_domains``; what is no SPIFFE URI of a workload stays as it is."""
    expanded: dict[str, None] = {}
    for uri in uris:
        expanded[uri] = None
        _, slash, path = uri.removeprefix(SPIFFE_SCHEME).partition("/")
        if uri.startswith(SPIFFE_SCHEME) and slash and path.startswith("ns/"):
            expanded.update((f"{SPIFFE_SCHEME}{domain}/{path}", None) for domain in trust_domains)
    return tuple(expanded)


def _aliases(principal: str, trust_domains: tuple[str, ...]) -> list[str]:
    named, _, rest = principal.partition("/")
    if named == "*" or not rest.startswith("ns/"):
        return [principal]
    matched = [domain for domain in trust_domains if _matches(named, domain)]
    if not matched and named != LOCAL:
        return [principal]
    return [principal if domain in matched and named.startswith("*") else f"{domain}/{rest}" for domain in trust_domains]


def _matches(pattern: str, trust_domain: str) -> bool:
    return trust_domain.endswith(pattern[1:]) if pattern.startswith("*") else trust_domain == pattern
