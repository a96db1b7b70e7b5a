"""What becomes of EnvoyFilters, as far as the object alone does not say it."""

from __future__ import annotations

from collections.abc import Iterator

from controlplane.incremental.database import Database
from controlplane.mesh.inputs import envoy_filter_scope, patch_faults
from controlplane.mesh.registry.mesh_settings import mesh_settings
from controlplane.model.problems import Problem, Severity
from controlplane.objects.networking.envoy_filter import EnvoyFilter
from controlplane.objects.networking.envoy_patches import BAD_PATCH
from controlplane.settings import EnvoyFilters


def envoy_filter_problems(db: Database, envoy_filter: EnvoyFilter) -> Iterator[Problem]:
    """Yield why ``envoy_filter`` has no effect, or which of its patches could not be applied to what."""
    key, scope = envoy_filter.key, envoy_filter_scope(db, "")
    root = mesh_settings(db).root_namespace
    if scope is EnvoyFilters.OFF:
        yield Problem(key, "", Severity.WARNING, "NotLetThrough", "EnvoyFilters are off here (--envoy-filters): it has no effect")
    elif scope is EnvoyFilters.ROOT and key.namespace != root:
        message = f"only EnvoyFilters of the root namespace, {root}, are let through (--envoy-filters root): it has no effect"
        yield Problem(key, "metadata.namespace", Severity.WARNING, "NotLetThrough", message)
    for fault in patch_faults(db, key):
        yield Problem(key, fault.field, Severity.ERROR, BAD_PATCH, fault.message)
