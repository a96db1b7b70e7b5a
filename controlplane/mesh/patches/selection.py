"""Which patches are for a proxy, in their order.

By priority; then those of the root namespace; then the older ones; then by name. Within an object they go in the order written.
https://istio.io/latest/docs/reference/config/networking/envoy-filter/
"""

from __future__ import annotations

from typing import NamedTuple

import re2

from controlplane.incremental.database import Database, eager_query, query
from controlplane.mesh.facets import namespaces_with, of_kind
from controlplane.mesh.inputs import envoy_filter_scope, index, objects, refused_patches
from controlplane.mesh.patches.compiled import patch_digest, patch_heads
from controlplane.mesh.registry.attachments import GATEWAY_LABEL
from controlplane.mesh.registry.mesh_settings import mesh_settings
from controlplane.mesh.routing.scopes import proxy_labels
from controlplane.model.keys import ENVOY_FILTER, KUBERNETES_GATEWAY, Key
from controlplane.model.proxies import Proxy, ProxyType
from controlplane.model.services import Labels
from controlplane.objects.networking.envoy_filter import EnvoyFilter, ProxyMatch
from controlplane.objects.networking.envoy_patches import MAX_VERSION
from controlplane.settings import EnvoyFilters
from controlplane.translate.patches.patch import PatchContext, PatchRef

Patches = tuple[PatchRef, ...]
ISTIO_VERSION = "ISTIO_VERSION"  # of a node's metadata


class FilterAttachment(NamedTuple):
    """Which workloads an EnvoyFilter is for, those with all labels of one of ``choices``, and when it has its turn."""

    priority: int
    created: str
    choices: tuple[Labels, ...]
    own_namespace_only: bool


class ProxyPatches(NamedTuple):
    """The patches for a proxy: to what comes from its workload, or through it as a gateway, and to what comes to its workload.

    ``hosts`` are the services whose clusters they name.
    """

    outbound: Patches = ()
    inbound: Patches = ()
    hosts: tuple[str, ...] = ()


def patches_of(db: Database, proxy: Proxy) -> ProxyPatches:
    """Return the patches for ``proxy``, but for those that it refuses."""
    if not index(db, namespaces_with(ENVOY_FILTER)):
        return ProxyPatches()
    keys = filters_for(db, proxy.namespace, proxy_labels(db, proxy))
    outbound = PatchContext.GATEWAY if proxy.type is ProxyType.ROUTER else PatchContext.SIDECAR_OUTBOUND
    refused = refused_patches(db, proxy.id)
    in_context: dict[PatchContext, list[PatchRef]] = {outbound: [], PatchContext.SIDECAR_INBOUND: []}
    for key in keys:
        conditions = proxy_conditions(db, key)
        for position, head in enumerate(patch_heads(db, key)):
            ref = PatchRef(key, position)
            if head is None or head.apply_to == "BOOTSTRAP" or not is_for_proxy(conditions[position], proxy):
                continue
            if refused and (ref, patch_digest(db, ref)) in refused:
                continue
            for context, refs in in_context.items():
                if head.context in {PatchContext.ANY, context}:
                    refs.append(ref)
    inbound = () if proxy.type is ProxyType.ROUTER else tuple(in_context[PatchContext.SIDECAR_INBOUND])
    return ProxyPatches(tuple(in_context[outbound]), inbound)


@query
def filters_for(db: Database, namespace: str, labels: Labels) -> tuple[Key, ...]:
    """Return the EnvoyFilters for workloads of ``namespace`` with ``labels``, in the order in which they apply."""
    if envoy_filter_scope(db, "") is EnvoyFilters.OFF:
        return ()
    root = mesh_settings(db).root_namespace
    namespaces = {root, namespace} if envoy_filter_scope(db, "") is EnvoyFilters.ALL else {root}
    attached = [
        (found.priority, key.namespace != root, found.created, key)
        for of in namespaces
        for key in index(db, of_kind(ENVOY_FILTER, of))
        if (found := filter_attachment(db, key)) and _is_for(found, key, namespace, set(labels))
    ]
    return tuple(key for _, _, _, key in sorted(attached))


@eager_query
def filter_attachment(db: Database, key: Key) -> FilterAttachment | None:
    """Return which workloads the EnvoyFilter ``key`` is for."""
    envoy_filter = objects(db, key)
    if not isinstance(envoy_filter, EnvoyFilter):
        return None
    spec, created = envoy_filter.spec, envoy_filter.meta.seniority
    if spec.target_refs:
        names = (ref.name for ref in spec.target_refs if (ref.group, ref.kind) == KUBERNETES_GATEWAY)
        return FilterAttachment(spec.priority, created, tuple(((GATEWAY_LABEL, name),) for name in names), own_namespace_only=True)
    labels = tuple(sorted(spec.workload_selector.labels.items())) if spec.workload_selector else ()
    return FilterAttachment(spec.priority, created, (labels,), own_namespace_only=False)


@eager_query
def proxy_conditions(db: Database, key: Key) -> tuple[ProxyMatch | None, ...]:
    """Return what each patch of the EnvoyFilter ``key`` asks of the proxy itself."""
    envoy_filter = objects(db, key)
    patches = envoy_filter.spec.config_patches if isinstance(envoy_filter, EnvoyFilter) else ()
    return tuple(patch.match.proxy if patch.match else None for patch in patches)


def is_for_proxy(condition: ProxyMatch | None, proxy: Proxy) -> bool:
    """Return whether ``proxy`` is of the version, and has the metadata, that ``condition`` asks for.

    The version is the one that its metadata call ISTIO_VERSION; of a stock Envoy, which has none, it is Envoy's own.
    """
    if condition is None:
        return True
    metadata = dict(proxy.metadata)
    if any(metadata.get(name) != value for name, value in condition.metadata.items()):
        return False
    if not condition.proxy_version or len(condition.proxy_version) > MAX_VERSION:
        return not condition.proxy_version
    version = metadata.get(ISTIO_VERSION) or (str(proxy.envoy) if proxy.envoy else "")
    return bool(version) and re2.search(condition.proxy_version, version) is not None


def _is_for(attachment: FilterAttachment, key: Key, namespace: str, labels: set[tuple[str, str]]) -> bool:
    if attachment.own_namespace_only and key.namespace != namespace:
        return False
    return any(labels.issuperset(choice) for choice in attachment.choices)
