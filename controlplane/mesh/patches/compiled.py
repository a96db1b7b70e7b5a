"""The patches of an EnvoyFilter in our own words, each with its value as one of Envoy's messages."""

from __future__ import annotations

from hashlib import blake2b

from controlplane.envoy.patching.patch_values import patch_value
from controlplane.incremental.database import Database, eager_query, query
from controlplane.mesh.inputs import objects
from controlplane.model.keys import Key
from controlplane.objects.networking.envoy_filter import EnvoyFilter, ListenerMatch, ObjectMatch, ObjectPatch, RouteConfigurationMatch
from controlplane.objects.networking.envoy_patches import patch_findings
from controlplane.translate.patches.patch import (
    ClusterPlace,
    EnvoyPatch,
    ListenerPlace,
    PatchContext,
    PatchHead,
    PatchOperation,
    PatchRef,
    Place,
    RoutePlace,
)


@eager_query
def patch_heads(db: Database, key: Key) -> tuple[PatchHead | None, ...]:
    """Return where each patch of the EnvoyFilter ``key`` applies; ``None``: it cannot be used."""
    envoy_filter = objects(db, key)
    return tuple(map(_head, envoy_filter.spec.config_patches)) if isinstance(envoy_filter, EnvoyFilter) else ()


@query
def patch_head(db: Database, ref: PatchRef) -> PatchHead | None:
    """Return where the patch ``ref`` applies."""
    heads = patch_heads(db, ref.key)
    return heads[ref.position] if ref.position < len(heads) else None


@query
def compiled_patch(db: Database, ref: PatchRef) -> EnvoyPatch | None:
    """Return the patch ``ref``, ``None`` where its value cannot be used."""
    head, written = patch_head(db, ref), _written(db, ref)
    if head is None or written is None or written.patch is None:
        return None
    found = patch_value(head.apply_to, head.operation, written.patch.value)
    if found.value is None:
        return None
    return EnvoyPatch(ref=ref, head=head, value=found.value, cleared=found.cleared, filter_class=written.patch.filter_class)


@query
def patch_digest(db: Database, ref: PatchRef) -> str:
    """Return what differs as soon as the patch ``ref`` says something else."""
    written = _written(db, ref)
    return blake2b(written.model_dump_json().encode() if written else b"", digest_size=8).hexdigest()


def _written(db: Database, ref: PatchRef) -> ObjectPatch | None:
    envoy_filter = objects(db, ref.key)
    patches = envoy_filter.spec.config_patches if isinstance(envoy_filter, EnvoyFilter) else ()
    return patches[ref.position] if ref.position < len(patches) else None


def _head(config_patch: ObjectPatch) -> PatchHead | None:
    match, patch = config_patch.match or ObjectMatch(), config_patch.patch
    if patch is None or any(finding.fatal for finding in patch_findings(config_patch)):
        return None
    return PatchHead(
        apply_to=config_patch.apply_to,
        operation=PatchOperation(patch.operation),
        context=PatchContext(match.context),
        place=_place(match),
    )


def _place(match: ObjectMatch) -> Place:
    if match.listener:
        return _listener_place(match.listener)
    if match.route_configuration:
        return _route_place(match.route_configuration)
    if cluster := match.cluster:
        return ClusterPlace(cluster.name, cluster.service, cluster.subset, cluster.port_number)
    return None


def _listener_place(match: ListenerMatch) -> ListenerPlace:
    place = ListenerPlace(name=match.name, port=match.port_number, listener_filter=match.listener_filter)
    chain = match.filter_chain
    if chain is None:
        return place
    network_filter = chain.filter
    return place._replace(
        chain=chain.name,
        sni=chain.sni,
        transport_protocol=chain.transport_protocol,
        application_protocols=tuple(filter(None, (name.strip() for name in chain.application_protocols.split(",")))),
        destination_port=chain.destination_port,
        network_filter=network_filter.name if network_filter else "",
        http_filter=network_filter.sub_filter.name if network_filter and network_filter.sub_filter else "",
    )


def _route_place(match: RouteConfigurationMatch) -> RoutePlace:
    place = RoutePlace(name=match.name, port=match.port_number, port_name=match.port_name, gateway=match.gateway)
    if match.vhost is None:
        return place
    route = match.vhost.route
    action = route.action if route and route.action != "ANY" else ""
    return place._replace(host_name=match.vhost.name, domain=match.vhost.domain_name, route=route.name if route else "", action=action)
