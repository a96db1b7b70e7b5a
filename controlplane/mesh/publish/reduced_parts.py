"""What proxies see whose builds lack some extensions: the same parts, but for those resources that name one of these.

Keyed by what is lacking, and not by who lacks it: equal proxies share everything, and a stock Envoy has no part of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import NamedTuple

from controlplane.envoy.packing import decode, encode
from controlplane.envoy.type_urls import RDS, VHDS
from controlplane.incremental.database import Database, Failed, query
from controlplane.mesh.publish.encode import checked_resource
from controlplane.mesh.publish.parts import Made, Members, PartGroup, PatchedResource, ResourcePart, Stopgap
from controlplane.translate.without_extensions import LeftOut, in_its_place, names_any, without_extensions
from controlplane.xds.resource import Assembly, Reference, Resource, assembled


class Reduction(NamedTuple):
    """A resource without the extensions that are lacking, if anything of it can be sent, and what was ``left_out`` of ``reference``."""

    resource: Made
    reference: Reference = ("", "")
    left_out: tuple[LeftOut, ...] = ()


def reduced(root: PartGroup, lacking: frozenset[str]) -> PartGroup:
    """Return the root of what proxies see in the place of ``root`` whose builds have not the extensions ``lacking``."""
    return PartGroup(reduced_parts, (root, lacking)) if lacking else root


def whole(root: PartGroup) -> PartGroup:
    """Return the root of what proxies see in the place of ``root`` that lack nothing."""
    group = root.args[0] if root.query is reduced_parts else root
    return group if isinstance(group, PartGroup) else root


@query
def reduced_parts(db: Database, group: PartGroup, lacking: frozenset[str]) -> Members:
    """Return the members of ``group``; in the place of those that name something ``lacking``, what is left of them."""
    return frozenset(_reduced_member(db, member, lacking) for member in group.query(db, *group.args))


def _reduced_member(db: Database, member: ResourcePart | PartGroup, lacking: frozenset[str]) -> ResourcePart | PartGroup:
    if isinstance(member, PartGroup):
        return PartGroup(reduced_parts, (member, lacking))
    return ResourcePart(reduced_part, (member, lacking)) if is_reduced(db, member, lacking) else member


@query
def is_reduced(db: Database, part: ResourcePart, lacking: frozenset[str]) -> bool:
    """Return whether ``part`` names something ``lacking``: others stand as they are in every view."""
    found = db.attempt(reduction, part, lacking)
    return not isinstance(found, Failed) and bool(found.left_out)


@query
def reduced_part(db: Database, part: ResourcePart, lacking: frozenset[str]) -> Made:
    """Return what is left of ``part`` without what is ``lacking``."""
    return reduction(db, part, lacking).resource


@query
def reduction(db: Database, part: ResourcePart, lacking: frozenset[str]) -> Reduction:
    """Return what is left of ``part`` without what is ``lacking``, and what was left out."""
    made = part.query(db, *part.args)
    match made:
        case Stopgap(resource):
            if resource is None:
                return Reduction(made)
            found = _reduction(resource, lacking)
            return found._replace(resource=Stopgap(found.resource)) if isinstance(found.resource, Resource) else found
        case PatchedResource(Resource() as patched):
            found = _reduction(patched, lacking)
            return found._replace(resource=made._replace(resource=found.resource if isinstance(found.resource, Resource) else None))
        case PatchedResource():
            return Reduction(made)
        case Resource():
            return _reduction(made, lacking)
        case None:
            return Reduction(None)


def reductions(db: Database, root: PartGroup) -> Iterator[Reduction]:
    """Yield the resources of ``root`` that were reduced."""
    pending: list[ResourcePart | PartGroup] = [root] if root.query is reduced_parts else []
    while pending:
        node = pending.pop()
        if isinstance(node, PartGroup):
            members = db.attempt(node.query, *node.args)
            pending.extend(() if isinstance(members, Failed) else members)
        elif node.query is reduced_part:
            found = db.attempt(reduction, *_of_reduced(node))
            if not isinstance(found, Failed):
                yield found


def _of_reduced(node: ResourcePart) -> tuple[ResourcePart, frozenset[str]]:
    part, lacking = node.args
    if not isinstance(part, ResourcePart) or not isinstance(lacking, frozenset):
        raise TypeError(f"not a reduced part: {node}")
    return part, lacking


def _reduction(made: Resource, lacking: frozenset[str]) -> Reduction:
    if not names_any(made.value, lacking):
        return Reduction(made)
    left, left_out = _of_assembly(made, made.assembly, lacking) if made.assembly else _of_message(made, lacking)
    return Reduction(left, (made.type_url, made.name), tuple(dict.fromkeys(left_out)))


def _of_message(made: Resource, lacking: frozenset[str]) -> tuple[Resource | None, Iterable[LeftOut]]:
    message, left_out = without_extensions(decode(made.type_url, made.value), lacking)
    if message is None:
        stand_in = made.fallback
        if stand_in is None:
            return None, left_out
        instead = decode(stand_in.type_url, stand_in.value)
        told = (in_its_place(instead, each.extension) for each in left_out)
        return None if names_any(stand_in.value, lacking) else stand_in, told
    left = checked_resource(made.type_url, made.name, message, made.missing)
    return replace(left, exclusive=made.exclusive, fallback=made.fallback), left_out


def _of_assembly(made: Resource, assembly: Assembly, lacking: frozenset[str]) -> tuple[Resource, Iterable[LeftOut]]:
    """Return a route table without what is ``lacking``, host by host."""
    left_out: list[LeftOut] = []

    def encoded(type_url: str, value: bytes) -> bytes:
        found = without_extensions(decode(type_url, value), lacking) if names_any(value, lacking) else None
        if found is None or found.message is None:
            return value
        left_out.extend(found.left_out)
        return encode(found.message)

    parts = tuple(part._replace(body=encoded(VHDS, part.body)) for part in assembly.parts)
    return assembled(made.type_url, made.name, assembly._replace(parts=parts, tail=encoded(RDS, assembly.tail))), left_out
