"""Small meshes that are closed, as what is published always is: what a resource uses exists.

What a resource uses and has for itself alone can be read from its revision, so that a client that has only the bytes knows it too.
"""

from __future__ import annotations

from collections.abc import Mapping
from random import Random

from controlplane.envoy.type_urls import CDS, EDS, LDS, RDS, VHDS
from controlplane.xds.resource import Resource
from controlplane.xds.view import folder
from tests.support.fakes.resources import cluster, endpoints, host, listener, routes

CLUSTERS = ("c0", "c1", "c2", "c3")
TABLES = ("r0", "r1")
LISTENERS = ("l0", "l1")
HOSTS = ("h0", "h1", "h2")
_BAD = 1 << 10  # a client refuses a revision with this bit
_SALT = 1 << 6
_TABLE_BITS = {"r0": 1 << 5, "r1": 1 << 7}
_SHIFT = 1 << 8


def world(random: Random, *, delta: bool, bad: float = 0.0) -> list[Resource]:
    """Return a random mesh; a part of ``bad`` of its resources is refused by clients; ``delta``: virtual hosts are resources."""
    clusters = [name for name in CLUSTERS if random.random() < 0.7]
    tables = [name for name in TABLES if random.random() < 0.7]

    def revision(mask: int = 0) -> int:
        return 1 + mask + _SALT * random.randrange(2) + (_BAD if random.random() < bad else 0)

    def some() -> int:
        return sum(1 << 1 + CLUSTERS.index(name) for name in clusters if random.random() < 0.4)

    found = [cluster(name, revision()) for name in clusters] + [endpoints(name, revision()) for name in clusters]
    for name in LISTENERS:
        if random.random() < 0.8:
            used = [table for table in tables if random.random() < 0.7]
            number = revision(some()) + sum(_TABLE_BITS[table] for table in used)
            found.append(listener(name, number, routes=used, clusters=clusters_of(LDS, number)))
    for table in tables:
        number = revision(0 if delta else some())
        found.append(routes(table, number, clusters=clusters_of(RDS, number)))
        if delta:
            shift = _SHIFT * random.randrange(3)
            for short in HOSTS:
                if random.random() < 0.7:
                    name, number = f"{table}/{short}", revision(some()) + shift
                    found.append(host(name, number, clusters=clusters_of(VHDS, number), domains=[domain(name, number)]))
    return found


def clusters_of(type_url: str, revision: int) -> list[str]:
    """Return the clusters that a resource of ``type_url`` in ``revision`` uses."""
    if type_url in (CDS, EDS):
        return []
    return [name for at, name in enumerate(CLUSTERS) if (revision - 1) & (1 << 1 + at)]


def tables_of(listeners: Mapping[str, int]) -> set[str]:
    """Return the route configurations that ``listeners`` in their revisions use."""
    return {table for revision in listeners.values() for table, bit in _TABLE_BITS.items() if (revision - 1) & bit}


def domain(name: str, revision: int) -> str:
    """Return the one domain that the virtual host ``name`` has in ``revision``: hosts of a table take turns."""
    shift = (revision - 1) // _SHIFT % 4
    return f"{folder(name)}.d{(HOSTS.index(name.rpartition('/')[2]) + shift) % len(HOSTS)}"


def is_bad(revision: int) -> bool:
    """Return whether a client refuses ``revision``."""
    return revision > 0 and bool((revision - 1) & _BAD)
