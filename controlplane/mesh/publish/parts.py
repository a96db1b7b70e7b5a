"""What a part of a view is made of: queries, named with their arguments, that yield one resource or more such names."""

from __future__ import annotations

from collections.abc import Hashable
from typing import NamedTuple

from controlplane.incremental.database import Query
from controlplane.xds.resource import Resource


class Stopgap(NamedTuple):
    """A resource for want of a better one, which could not be worked out: what was published before stays."""

    resource: Resource


class ResourcePart(NamedTuple):
    """A query that yields one resource, or ``None`` while there is none."""

    query: Query[..., Resource | Stopgap | None]
    args: tuple[Hashable, ...]


class PartGroup(NamedTuple):
    """A query that yields the parts and groups it is made of."""

    query: Query[..., frozenset[ResourcePart | PartGroup]]
    args: tuple[Hashable, ...]


Members = frozenset[ResourcePart | PartGroup]
