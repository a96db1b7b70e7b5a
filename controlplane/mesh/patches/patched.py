"""Parts of tables as patches have them.

What patches can be for is wrapped, part by part and group by group, with those that it may be for; the rest is everybody's.
So proxies with the same patches share what comes of these, and a change costs what it touches.
"""

from __future__ import annotations

from dataclasses import replace

from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.config.listener.v3.listener_pb2 import Listener

from controlplane.envoy.packing import encode
from controlplane.envoy.type_urls import CDS, ECDS, LDS, RDS, VHDS
from controlplane.incremental.database import Database, Failed, query
from controlplane.mesh.gateway.gateways import GatewayScope, namespaced_name, server_at
from controlplane.mesh.gateway.route_tables import servers_of_table
from controlplane.mesh.patches.compiled import compiled_patch, patch_head
from controlplane.mesh.patches.part_names import reference_of, service_of, table_of, types_in
from controlplane.mesh.patches.patched_routes import patched_routes, patched_table
from controlplane.mesh.patches.selection import Patches
from controlplane.mesh.publish.parts import Made, Members, PartGroup, PatchedResource, ResourcePart, Stopgap
from controlplane.translate.patches.clusters import patched_cluster
from controlplane.translate.patches.listeners import patched_listener
from controlplane.translate.patches.patch import (
    ClusterPlace,
    EnvoyPatch,
    PatchContext,
    PatchFault,
    PatchHead,
    PatchOperation,
    PatchOutcome,
    RoutePlace,
)
from controlplane.translate.patches.places import LISTENER_PATCHES, ROUTE_PATCHES, concerns, is_cluster, is_route_table
from controlplane.translate.references import references
from controlplane.xds.resource import Reference, Resource, resource


@query
def patched_parts(db: Database, group: PartGroup, context: PatchContext, patches: Patches) -> Members:
    """Return the members of ``group``, those that some of ``patches`` may be for as these have them."""
    found = frozenset(group.query(db, *group.args))
    patches = _for_table(db, group, patches)
    return frozenset(patched_member(db, group, member, context, patches) for member in found) if patches else found


def patched_member(
    db: Database, group: PartGroup, member: ResourcePart | PartGroup, context: PatchContext, patches: Patches
) -> ResourcePart | PartGroup:
    """Return ``member`` of ``group`` as those of ``patches`` have it that may be for it; where none is, itself."""
    heads = [(ref, head) for ref in patches if (head := patch_head(db, ref))]
    inline = context is PatchContext.SIDECAR_INBOUND
    if isinstance(member, PartGroup):
        types, host = types_in(member), service_of(member)
        relevant = tuple(
            ref for ref, head in heads if any(_is_of_type(head, type_url, inline=inline) for type_url in types) and _may_be_of(head, host)
        )
        return PartGroup(patched_parts, (member, context, relevant)) if relevant else member
    reference = reference_of(member)
    relevant = tuple(ref for ref, head in heads if reference is None or _is_for(head, reference, inline=inline))
    if not relevant:
        return member
    siblings = group if reference and reference[0] == RDS else None
    return ResourcePart(patched_resource, (member, relevant, siblings))


def _is_of_type(head: PatchHead, type_url: str, *, inline: bool) -> bool:
    """Return whether a patch with ``head`` may be for anything of ``type_url``; ``inline``: listeners have their routes in them."""
    if type_url in {LDS, RDS, VHDS} and _removes_cluster(head):
        return True
    wanted = {CDS: {"CLUSTER"}, LDS: LISTENER_PATCHES | (ROUTE_PATCHES if inline else set()), RDS: ROUTE_PATCHES, VHDS: ROUTE_PATCHES}
    return head.apply_to in wanted.get(type_url, ())


def _is_for(head: PatchHead, reference: Reference, *, inline: bool) -> bool:
    if reference[0] in {LDS, RDS, VHDS} and _removes_cluster(head):
        return True
    return concerns(head, *reference, inline_routes=inline)


def _removes_cluster(head: PatchHead) -> bool:
    """Return whether what uses a cluster has to do with ``head``: what is removed must not be waited for."""
    return head.apply_to == "CLUSTER" and head.operation is PatchOperation.REMOVE


def _may_be_of(head: PatchHead, host: str | None) -> bool:
    if host is None or not isinstance(head.place, ClusterPlace) or head.place.name:
        return True
    return not head.place.service or head.place.service.lower() == host


def _for_table(db: Database, group: PartGroup, patches: Patches) -> Patches:
    """Return those of ``patches`` that may be for the route configuration that ``group`` makes, where it makes one."""
    name = table_of(group)
    if name is None:
        return patches
    return tuple(ref for ref in patches if (head := patch_head(db, ref)) and _is_for_table(db, group, head, name))


def _is_for_table(db: Database, group: PartGroup, head: PatchHead, name: str) -> bool:
    place = head.place
    if not isinstance(place, RoutePlace):
        return True
    if not is_route_table(place, name):
        return False
    if not place.gateway and not place.port_name:
        return True
    scope = group.args[0]
    servers = servers_of_table(db, scope, name) if isinstance(scope, GatewayScope) else ()
    for server_ref in servers:
        server = server_at(db, server_ref)
        if place.gateway in {"", namespaced_name(server_ref.gateway)} and place.port_name in {"", server.port.name if server else ""}:
            return True
    return False


@query
def patched_resource(db: Database, part: ResourcePart, patches: Patches, siblings: PartGroup | None) -> Made:
    """Return what ``part`` makes after ``patches``; where it is a route configuration, ``siblings`` makes its virtual hosts too.

    Where that fails, which is a mistake of ours, it is as it would be without them.
    """
    patched = db.attempt(resource_after_patches, part, patches, siblings)
    if not isinstance(patched, Failed):
        return patched
    made = part.query(db, *part.args)
    if made is None or isinstance(made, Stopgap):
        return made
    message = f"this could not be worked out, for a mistake of ours: {patched.message}"
    faults = tuple(PatchFault(ref, f"{ref.path}.patch", message) for ref in patches)
    return PatchedResource(made.resource if isinstance(made, PatchedResource) else made, (), faults)


@query
def resource_after_patches(db: Database, part: ResourcePart, patches: Patches, siblings: PartGroup | None) -> Made:
    """Return what ``part`` makes after ``patches``."""
    made = part.query(db, *part.args)
    compiled = tuple(patch for ref in patches if (patch := compiled_patch(db, ref)))
    before = made.resource if isinstance(made, PatchedResource) else made
    if before is None or isinstance(before, Stopgap) or not compiled:
        return made
    outcome = PatchOutcome()
    after = _patched(db, before, compiled, outcome, siblings)
    removed = [patch.head for patch in compiled if _removes_cluster(patch.head)]
    if after is not None and removed and after.type_url != CDS:
        used = tuple(each for each in after.uses if each[0] != CDS or not any(is_cluster(head.place, each[1]) for head in removed))
        after = replace(after, uses=used)
    if not outcome.applied and not outcome.faults:
        return made if after == before else after
    earlier = made if isinstance(made, PatchedResource) else PatchedResource(None, (), ())
    return PatchedResource(after, (*earlier.applied, *outcome.applied), (*earlier.faults, *outcome.faults))


def _patched(
    db: Database, before: Resource, patches: tuple[EnvoyPatch, ...], outcome: PatchOutcome, siblings: PartGroup | None
) -> Resource | None:
    """Return ``before`` after ``patches``: itself where none was for it."""
    match before.type_url:
        case _ if before.type_url == CDS:
            cluster = patched_cluster(Cluster.FromString(before.value), patches, outcome)
            return _again(before, cluster, outcome)
        case _ if before.type_url == LDS:
            listener = patched_listener(Listener.FromString(before.value), patches, outcome)
            return _again(before, listener, outcome)
        case _ if before.type_url == RDS:
            return patched_table(db, before, patches, outcome, siblings)
        case _ if before.type_url == VHDS:
            return patched_routes(before, patches, outcome)
        case _:
            return before


def _again(before: Resource, message: Cluster | Listener | None, outcome: PatchOutcome) -> Resource | None:
    if message is None or not outcome.applied:
        return None if message is None else before
    kept = tuple(reference for reference in references(message) if reference in before.uses or reference[0] == ECDS)
    return replace(resource(before.type_url, before.name, encode(message), uses=kept), missing=before.missing)
