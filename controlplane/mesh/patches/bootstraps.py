"""The patches to what proxies are started with, for who starts them."""

from __future__ import annotations

from controlplane.incremental.database import Database, Failed, query
from controlplane.mesh.facets import namespaces_with, of_kind
from controlplane.mesh.inputs import envoy_filter_scope, index
from controlplane.mesh.patches.compiled import compiled_patch, patch_heads
from controlplane.mesh.patches.selection import filter_attachment
from controlplane.mesh.registry.mesh_settings import mesh_settings
from controlplane.model.keys import ENVOY_FILTER
from controlplane.settings import EnvoyFilters
from controlplane.translate.patches.bootstrap import BootstrapPatch
from controlplane.translate.patches.patch import PatchRef


def patches_at_start(db: Database) -> tuple[BootstrapPatch, ...]:
    """Return the patches to bootstraps, in the order in which they apply."""
    found = db.attempt(bootstrap_patches)
    return () if isinstance(found, Failed) else found


@query
def bootstrap_patches(db: Database) -> tuple[BootstrapPatch, ...]:
    """Return the patches to bootstraps of all EnvoyFilters that are let through, in the order in which they apply."""
    scope, root = envoy_filter_scope(db, ""), mesh_settings(db).root_namespace
    namespaces = {marker.namespace for marker in index(db, namespaces_with(ENVOY_FILTER))} if scope is EnvoyFilters.ALL else {root}
    keys = () if scope is EnvoyFilters.OFF else (key for each in namespaces for key in index(db, of_kind(ENVOY_FILTER, each)))
    ordered = sorted(
        (found.priority, key.namespace != root, found.created, key, found) for key in keys if (found := filter_attachment(db, key))
    )
    patches = []
    for _, elsewhere, _, key, attachment in ordered:
        namespace = key.namespace if elsewhere or attachment.own_namespace_only else ""
        for position, head in enumerate(patch_heads(db, key)):
            patch = compiled_patch(db, PatchRef(key, position)) if head and head.apply_to == "BOOTSTRAP" else None
            if patch:
                patches.append(BootstrapPatch(patch, namespace, attachment.choices))
    return tuple(patches)
