"""Bounded parts of a namespace, so that one object more costs what is in its part, and indexes by which rivals for a name are found.

Which shard an object is in follows from its name and how many shards its namespace has, and that from how many objects it has.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import NamedTuple
from zlib import crc32

from controlplane.model.keys import SERVICE, SERVICE_ENTRY, VIRTUAL_SERVICE, GroupKind, Key
from controlplane.model.virtual_host_domains import virtual_host_domains

Facet = tuple[str, ...]
CLUSTER_DOMAIN = "cluster.local"  # of the Kubernetes cluster: what its DNS answers for, whatever the trust domain is
NO_NAMESPACE = "~"  # no namespace has this name
SHARDED = (SERVICE, SERVICE_ENTRY, VIRTUAL_SERVICE)
MOST = 48  # objects a shard, on average, before there are twice as many shards
FEWEST = 12  # before there are half as many: so far below that a namespace does not go back and forth


class Shard(NamedTuple):
    """One of the ``of`` shards of ``namespace``."""

    namespace: str
    number: int
    of: int


def shard_of(key: Key, of: int) -> Shard:
    """Return the shard of the object ``key`` where its namespace has ``of`` of them."""
    return Shard(key.namespace, crc32(key.name.encode()) % of, of)


def shard_count(before: int, objects: int) -> int:
    """Return how many shards a namespace with ``objects`` has that had ``before``: a power of two, none without objects."""
    if not objects:
        return 0
    of = before or 1
    while objects > of * MOST:
        of *= 2
    while of > 1 and objects < of * FEWEST:
        of //= 2
    return of


def in_shard(kind: GroupKind, shard: Shard) -> Facet:
    """Return the facet of every object of ``kind`` in ``shard``."""
    return ("shard", *kind, shard.namespace, f"{shard.number}/{shard.of}")


def claiming(domain: str) -> Facet:
    """Return the facet of every object whose virtual host, if it has one, claims ``domain`` for clients of every namespace."""
    return ("domain", domain)


def declared_twice_in(namespace: str) -> Facet:
    """Return the facet of the hosts, as names of keys, that an object of ``namespace`` declares as a service, and another object too."""
    return ("declared-twice", namespace)


def moved(changed: Iterable[Key], members: Collection[Key], before: int, now: int) -> Mapping[Facet, Mapping[Key, bool]]:
    """Return who is in which shard of a namespace, and who no longer, once its objects ``changed`` have changed.

    ``members`` are all its objects now, ``before`` and ``now`` the numbers of shards.
    """
    touched: dict[Facet, dict[Key, bool]] = defaultdict(dict)
    if before and before != now:
        for key in {*changed, *members}:
            touched[in_shard(key.group_kind, shard_of(key, before))][key] = False
    if now:
        for key in changed if before == now else members:
            touched[in_shard(key.group_kind, shard_of(key, now))][key] = key in members
    return touched


def domain_facets(hosts: Iterable[str], *, vips: Iterable[str] = (), wildcard: bool = False) -> Iterator[Facet]:
    """Yield the facets of the domains by which requests from any namespace name the services ``hosts``."""
    addresses = [address for address in vips if "/" not in address]
    dns_domain = f"{NO_NAMESPACE}.svc.{CLUSTER_DOMAIN}"
    for host in hosts:
        yield from map(claiming, virtual_host_domains(host, dns_domain=dns_domain, vips=addresses, wildcard=wildcard))
