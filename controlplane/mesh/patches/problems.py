"""What becomes of EnvoyFilters, as far as the object alone does not say it."""

from __future__ import annotations

from collections.abc import Iterator

from controlplane.incremental.database import Database
from controlplane.mesh.facets import labelled, namespaces_with, of_kind
from controlplane.mesh.inputs import envoy_filter_scope, index, patch_faults, unused_patches
from controlplane.mesh.patches.added import named_hosts
from controlplane.mesh.patches.compiled import compiled_patch
from controlplane.mesh.patches.selection import filter_attachment
from controlplane.mesh.registry.attachments import GATEWAY_LABEL
from controlplane.mesh.registry.mesh_settings import mesh_settings
from controlplane.mesh.registry.services import find_services
from controlplane.model.keys import ENVOY_FILTER, KUBERNETES_GATEWAY, POD
from controlplane.model.problems import Problem, Severity
from controlplane.objects.networking.envoy_filter import EnvoyFilter
from controlplane.objects.networking.envoy_patches import BAD_PATCH
from controlplane.settings import EnvoyFilters
from controlplane.translate.patches.bootstrap import patched_bootstrap
from controlplane.translate.patches.patch import PatchOutcome, PatchRef

_INDEPENDENT = frozenset(("ADD", "INSERT_FIRST"))  # of what other patches have done


def envoy_filter_problems(db: Database, envoy_filter: EnvoyFilter) -> Iterator[Problem]:
    """Yield why ``envoy_filter`` has no effect, or which of its patches could not be applied to what."""
    key, scope = envoy_filter.key, envoy_filter_scope(db, "")
    root = mesh_settings(db).root_namespace
    if scope is EnvoyFilters.OFF:
        yield Problem(key, "", Severity.WARNING, "NotLetThrough", "EnvoyFilters are off here (--envoy-filters): it has no effect")
    elif scope is EnvoyFilters.ROOT and key.namespace != root:
        message = f"only EnvoyFilters of the root namespace, {root}, are let through (--envoy-filters root): it has no effect"
        yield Problem(key, "metadata.namespace", Severity.WARNING, "NotLetThrough", message)
    else:
        yield from _of_one_priority(db, envoy_filter)
    yield from _of_targets(db, envoy_filter)
    yield from _of_values(db, envoy_filter)
    for ref in sorted(unused_patches(db, key)):
        if compiled_patch(db, ref):
            message = "it fits nothing that the proxies it is for, of those connected here, are sent: it has no effect"
            yield Problem(key, f"{ref.path}.match", Severity.INFO, "FitsNothing", message)
    for fault in patch_faults(db, key):
        yield Problem(key, fault.field, Severity.ERROR, BAD_PATCH, fault.message)


def _of_one_priority(db: Database, envoy_filter: EnvoyFilter) -> Iterator[Problem]:
    """Yield that only age says which of ``envoy_filter`` and another comes first, where a patch of it depends on what others have done."""
    key, spec = envoy_filter.key, envoy_filter.spec
    operations = {each.patch.operation for each in spec.config_patches if each.patch}
    if operations <= _INDEPENDENT:
        return
    rivals = [
        other
        for other in sorted(index(db, of_kind(ENVOY_FILTER, key.namespace)))
        if other != key and (found := filter_attachment(db, other)) and found.priority == spec.priority
    ]
    if rivals:
        message = f"{rivals[0]} has this priority too: the older one comes first, and of one age the one that is first by name"
        yield Problem(key, "spec.priority", Severity.INFO, "SamePriority", message)


def _of_targets(db: Database, envoy_filter: EnvoyFilter) -> Iterator[Problem]:
    """Yield which Gateways ``envoy_filter`` is for that have no proxies, where pods are known at all."""
    namespace = envoy_filter.key.namespace
    for position, ref in enumerate(envoy_filter.spec.target_refs if index(db, namespaces_with(POD)) else ()):
        if (ref.group, ref.kind) == KUBERNETES_GATEWAY and not index(db, labelled(POD, namespace, GATEWAY_LABEL, ref.name)):
            message = f"no pod of a Gateway {ref.name} is known in {namespace}: it is for no proxy"
            yield Problem(envoy_filter.key, f"spec.targetRefs[{position}].name", Severity.WARNING, "NoWorkload", message)


def _of_values(db: Database, envoy_filter: EnvoyFilter) -> Iterator[Problem]:
    """Yield which services the patches of ``envoy_filter`` name that are not there, and what no bootstrap can be patched with."""
    key = envoy_filter.key
    for position in range(len(envoy_filter.spec.config_patches)):
        ref = PatchRef(key, position)
        for host in named_hosts(db, (ref,)):
            if not find_services(db, host, key.namespace):
                message = f"no service {host} is known: its cluster leads nowhere"
                yield Problem(key, f"{ref.path}.patch.value", Severity.WARNING, "UnknownHost", message)
        patch = compiled_patch(db, ref)
        if patch and patch.head.apply_to == "BOOTSTRAP":
            outcome = PatchOutcome()
            patched_bootstrap({}, (patch,), outcome)
            yield from (Problem(key, fault.field, Severity.ERROR, BAD_PATCH, fault.message) for fault in outcome.faults)
