"""What a part of a view is made of: queries, named with their arguments, that yield one resource or more such names."""

from __future__ import annotations

from collections.abc import Hashable
from typing import NamedTuple

from controlplane.incremental.database import Query
from controlplane.translate.patches.patch import PatchFault, PatchRef
from controlplane.xds.resource import Resource


class Stopgap(NamedTuple):
    """A resource for want of a better one, which could not be worked out, or none: what was published before stays."""

    resource: Resource | None


class PatchedResource(NamedTuple):
    """A resource after patches (``None``: one has removed it): which were applied, and why others could not be."""

    resource: Resource | None
    applied: tuple[PatchRef, ...]
    faults: tuple[PatchFault, ...]

    @property
    def met(self) -> frozenset[PatchRef]:
        """Return the patches that were for it, whether or not they could be applied."""
        return frozenset((*self.applied, *(fault.ref for fault in self.faults)))


Made = Resource | Stopgap | PatchedResource | None


class ResourcePart(NamedTuple):
    """A query that yields one resource, or ``None`` while there is none."""

    query: Query[..., Made]
    args: tuple[Hashable, ...]


class PartGroup(NamedTuple):
    """A query that yields the parts and groups it is made of."""

    query: Query[..., frozenset[ResourcePart | PartGroup]]
    args: tuple[Hashable, ...]


class OpenGroup(PartGroup):
    """The root of a table whose resources use clusters and route tables of another: they are not looked for in its own."""


Members = frozenset[ResourcePart | PartGroup]
