"""Route configurations and virtual hosts as patches have them, whether hosts stand in their table or come by themselves."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from envoy.config.route.v3.route_components_pb2 import VirtualHost
from envoy.config.route.v3.route_pb2 import RouteConfiguration

from controlplane.envoy.packing import encode
from controlplane.incremental.database import Database, query
from controlplane.mesh.publish.parts import PartGroup, PatchedResource, Stopgap
from controlplane.mesh.publish.virtual_host_bytes import virtual_host_head
from controlplane.translate.patches.patch import EnvoyPatch, PatchOperation, PatchOutcome
from controlplane.translate.patches.routes import patched_route_table, patched_virtual_host
from controlplane.translate.references import references
from controlplane.xds.resource import Part, Resource, assembled, resource


def patched_table(
    db: Database,
    before: Resource,
    patches: Iterable[EnvoyPatch],
    outcome: PatchOutcome,
    siblings: PartGroup | None,
) -> Resource:
    """Return the route configuration ``before`` after ``patches``; ``siblings`` makes its virtual hosts where they come by themselves."""
    patches = tuple(patches)
    if before.assembly is None:
        taken = table_domains(db, siblings) if siblings and _brings_domains(patches) else frozenset()
        table = patched_route_table(RouteConfiguration.FromString(before.value), patches, outcome, taken)
        if not outcome.applied:
            return before
        kept = tuple(reference for reference in references(table) if reference in before.uses)
        return replace(resource(before.type_url, before.name, encode(table), uses=kept), missing=before.missing)
    assembly = before.assembly
    taken = frozenset(domain for part in assembly.parts for domain in part.exclusive)
    rest = RouteConfiguration.FromString(assembly.head + assembly.tail)
    table = patched_route_table(rest, patches, outcome, taken)
    taken |= frozenset(domain for host in table.virtual_hosts for domain in host.domains)
    parts = tuple(patched for part in assembly.parts if (patched := _patched_part(before.name, part, patches, outcome, taken)) is not None)
    if not outcome.applied:
        return before
    name = RouteConfiguration(name=table.name)
    table.ClearField("name")
    uses = tuple(reference for reference in references(table) if reference in assembly.uses)
    return assembled(before.type_url, before.name, assembly._replace(head=encode(name), parts=parts, tail=encode(table), uses=uses))


def patched_routes(before: Resource, patches: Iterable[EnvoyPatch], outcome: PatchOutcome) -> Resource | None:
    """Return the virtual host ``before``, a resource of its own, after ``patches``; ``None``: one has removed it."""
    table, _, name = before.name.rpartition("/")
    host = VirtualHost.FromString(before.value)
    host.name = name
    patched = patched_virtual_host(table, host, patches, outcome)
    if patched is None or not outcome.applied:
        return None if patched is None else before
    patched.name = before.name
    kept = tuple(reference for reference in references(patched) if reference in before.uses)
    made = resource(before.type_url, before.name, encode(patched), uses=kept, exclusive=frozenset(patched.domains))
    return replace(made, missing=before.missing)


def _patched_part(table: str, part: Part, patches: Iterable[EnvoyPatch], outcome: PatchOutcome, taken: frozenset[str]) -> Part | None:
    applied = len(outcome.applied)
    patched = patched_virtual_host(table, VirtualHost.FromString(part.head + part.body), patches, outcome, taken)
    if patched is None or len(outcome.applied) == applied:
        return None if patched is None else part
    domains = tuple(patched.domains)
    uses = tuple(reference for reference in references(patched) if reference in part.uses)
    patched.ClearField("name")
    patched.ClearField("domains")
    return part._replace(head=virtual_host_head(part.name, domains), body=encode(patched), uses=uses, exclusive=frozenset(domains))


def _brings_domains(patches: Iterable[EnvoyPatch]) -> bool:
    return any(
        patch.head.apply_to == "ROUTE_CONFIGURATION"
        or (patch.head.apply_to == "VIRTUAL_HOST" and patch.head.operation is not PatchOperation.REMOVE)
        for patch in patches
    )


@query
def table_domains(db: Database, group: PartGroup) -> frozenset[str]:
    """Return the domains of the virtual hosts that ``group`` makes as resources of their own."""
    return frozenset(domain for found in _resources(db, group) for domain in found.exclusive)


def _resources(db: Database, group: PartGroup) -> Iterator[Resource]:
    for member in group.query(db, *group.args):
        if isinstance(member, PartGroup):
            yield from _resources(db, member)
        else:
            made = member.query(db, *member.args)
            found = made.resource if isinstance(made, Stopgap | PatchedResource) else made
            if found is not None:
                yield found
