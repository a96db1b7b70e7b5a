"""What patches add to a table: resources of their own, and the clusters of services that their values name."""

from __future__ import annotations

import re
from collections.abc import Iterator

from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.config.listener.v3.listener_pb2 import Listener
from google.protobuf.message import Message

from controlplane.envoy.packing import encode
from controlplane.envoy.patching.message_texts import texts_in
from controlplane.envoy.patching.patch_values import message_of
from controlplane.envoy.type_urls import CDS, ECDS, LDS
from controlplane.incremental.database import Database, query
from controlplane.mesh.destinations.clusters import service_clusters
from controlplane.mesh.destinations.destination_rules import rule_client, selected_labels_of_namespace
from controlplane.mesh.gateway.gateways import GatewayScope
from controlplane.mesh.patches.compiled import compiled_patch, patch_head
from controlplane.mesh.patches.part_names import reference_of, types_in
from controlplane.mesh.patches.patched import patched_member, patched_parts, patched_resource
from controlplane.mesh.patches.selection import Patches
from controlplane.mesh.publish.parts import Members, PartGroup, PatchedResource, ResourcePart
from controlplane.mesh.registry.services import find_services
from controlplane.mesh.routing.scopes import OutboundScope
from controlplane.model.endpoint_policy import OWN_PORTS
from controlplane.translate.patches.patch import EnvoyPatch, PatchContext, PatchOperation, PatchOutcome, PatchRef
from controlplane.translate.patches.places import LISTENER_PATCHES
from controlplane.translate.patches.soundness import why_refused
from controlplane.translate.references import references
from controlplane.xds.resource import resource

_TYPES = {"CLUSTER": CDS, "LISTENER": LDS, "EXTENSION_CONFIG": ECDS}
_GENERATED = re.compile(
    r"(?:outbound|inbound)\|.*|(?:BlackHole|Passthrough|InboundPassthrough)Cluster.*|xds-grpc|virtual(?:In|Out)bound"
    r"|(?:wasmplugin|trafficextension)/.*|navarch-modules",
    re.ASCII,
)
_OF_SERVICE = re.compile(r"outbound\|\d{1,5}\|[^|]*\|([^|]+)", re.ASCII)


@query
def patched_root(db: Database, root: PartGroup, context: PatchContext, patches: Patches, hosts: tuple[str, ...]) -> Members:
    """Return what the table of ``root`` is made of after ``patches`` in ``context``; the clusters of the services ``hosts`` are in it."""
    members: set[ResourcePart | PartGroup] = {PartGroup(patched_parts, (root, context, patches)) if patches else root}
    names: dict[tuple[str, str], PatchRef] = {}
    for position, ref in enumerate(patches):
        patch = compiled_patch(db, ref)
        if patch is None or not _adds(patch, context):
            continue
        twin = names.setdefault((patch.head.apply_to, _name(patch)), ref)
        added = ResourcePart(added_resource, (ref, twin if twin != ref else None, root))
        later = tuple(other for other in patches[position + 1 :] if _may_patch(db, other, patch.head.apply_to))
        members.add(ResourcePart(patched_resource, (added, later, None)) if later else added)
    members.update(patched_member(db, root, group, context, patches) for group in _named_clusters(db, root, hosts))
    return frozenset(members)


@query
def named_hosts(db: Database, patches: Patches) -> tuple[str, ...]:
    """Return the hosts of the services whose clusters the values of ``patches`` name, sorted."""
    compiled = (patch for ref in patches if (patch := compiled_patch(db, ref)) and patch.value)
    texts = (text for patch in compiled for text in texts_in(message_of(patch.head.apply_to, patch.value)))
    return tuple(sorted({match.group(1) for text in texts if (match := _OF_SERVICE.fullmatch(text))}))


@query
def added_resource(db: Database, ref: PatchRef, twin: PatchRef | None, root: PartGroup) -> PatchedResource | None:
    """Return the resource that the patch ``ref`` adds to the table of ``root``; ``twin`` is an earlier patch that adds one of its name."""
    patch = compiled_patch(db, ref)
    if patch is None or not _adds(patch, PatchContext.ANY):  # it has changed: whoever asks will not for long
        return None
    message = message_of(patch.head.apply_to, patch.value)
    refused = f"{twin.key} adds one of this name, at {twin.path}" if twin else _why_not_added(db, message, _name(patch), root)
    if refused:
        outcome = PatchOutcome()
        outcome.note_fault(patch, f"it is not added: {refused}")
        return PatchedResource(None, (), tuple(outcome.faults))
    used = tuple(each for each in references(message) if each[0] == (ECDS if isinstance(message, Listener) else CDS))
    made = resource(_TYPES[patch.head.apply_to], _name(patch), encode(message), uses=used)
    return PatchedResource(made, (ref,), ())


@query
def listener_names(db: Database, group: PartGroup) -> frozenset[str]:
    """Return the names of the listeners that ``group`` makes."""
    found: set[str] = set()
    for member in group.query(db, *group.args):
        if isinstance(member, PartGroup):
            found |= listener_names(db, member) if LDS in types_in(member) else frozenset()
        elif (reference := reference_of(member)) and reference[0] == LDS:
            found.add(reference[1])
    return frozenset(found)


def _adds(patch: EnvoyPatch, context: PatchContext) -> bool:
    """Return whether ``patch`` adds a resource in ``context``; what is for any has it in the table of what comes from the workload."""
    head = patch.head
    elsewhere = context is PatchContext.SIDECAR_INBOUND and head.context is PatchContext.ANY
    return head.operation is PatchOperation.ADD and head.apply_to in _TYPES and not elsewhere


def _name(patch: EnvoyPatch) -> str:
    return str(getattr(message_of(patch.head.apply_to, patch.value), "name", ""))


def _may_patch(db: Database, ref: PatchRef, apply_to: str) -> bool:
    """Return whether the patch ``ref`` may be for a resource that another one has added."""
    head = patch_head(db, ref)
    if head is None or apply_to == "EXTENSION_CONFIG" or (head.operation is PatchOperation.ADD and head.apply_to == apply_to):
        return False
    return head.apply_to == "CLUSTER" if apply_to == "CLUSTER" else head.apply_to in LISTENER_PATCHES


def _why_not_added(db: Database, message: Message, name: str, root: PartGroup) -> str | None:
    if not name:
        return "expected a name"
    if _GENERATED.fullmatch(name):
        return f"{name} is a name of ours: MERGE changes what is there"
    match message:
        case Cluster() if message.WhichOneof("cluster_discovery_type") != "cluster_type" and message.type == Cluster.EDS:
            return "nobody serves endpoints for it: expected the type STATIC or STRICT_DNS and a load_assignment, or a ServiceEntry"
        case Listener():
            address = message.address.socket_address
            if address.port_value in OWN_PORTS:
                return f"port {address.port_value} is the proxy's own"
            at = f"{address.address}_{address.port_value}"
            if at in (names := listener_names(db, root)) or name in names:
                return f"{at if at in names else name} is there already"
        case _:
            pass
    return why_refused(message)


def _named_clusters(db: Database, root: PartGroup, hosts: tuple[str, ...]) -> Iterator[PartGroup]:
    """Yield the clusters of the services ``hosts``, as the proxies of ``root`` would have them if they saw these."""
    scope = root.args[0]
    if not isinstance(scope, OutboundScope | GatewayScope):
        return
    selected = selected_labels_of_namespace(db, scope.namespace)
    labels = tuple(pair for pair in scope.labels if pair in selected)
    for host in hosts:
        for ref in find_services(db, host, scope.namespace):
            yield PartGroup(service_clusters, (ref, rule_client(db, ref, scope.namespace, labels), scope.identified))
