"""What EnvoyFilters must keep to; what a patch does to Envoy's messages is not looked at.

https://istio.io/latest/docs/reference/config/networking/envoy-filter/
"""

from __future__ import annotations

from collections.abc import Iterator

from controlplane.objects.networking.envoy_filter import EnvoyFilter, ListenerMatch, ObjectMatch, ObjectPatch
from controlplane.objects.types import rules
from controlplane.objects.types.findings import Finding

_MANAGER = ("envoy.filters.network.http_connection_manager", "envoy.http_connection_manager")
_MAX_VERSION = 100
_OBJECTS = (("listener", "listener"), ("route_configuration", "routeConfiguration"), ("cluster", "cluster"), ("waypoint", "waypoint"))


def check(envoy_filter: EnvoyFilter) -> Iterator[Finding]:
    """Yield what is wrong with ``envoy_filter``."""
    spec = envoy_filter.spec
    if spec.workload_selector is not None:
        yield from rules.selector("spec.workloadSelector.labels", spec.workload_selector.labels)
        if spec.target_refs:
            yield rules.conflict("spec", "expected at most one of workloadSelector, targetRefs")
    for index, target_ref in enumerate(spec.target_refs):
        if target_ref.namespace:
            yield rules.out_of_range(f"spec.targetRefs[{index}].namespace", "nothing: it is for its own namespace", target_ref.namespace)
    for index, patch in enumerate(spec.config_patches):
        yield from _patch(f"spec.configPatches[{index}]", patch)


def _patch(path: str, config_patch: ObjectPatch) -> Iterator[Finding]:
    if config_patch.apply_to == "INVALID":
        yield rules.required(f"{path}.applyTo", "what is patched")
    if config_patch.patch is None:
        yield rules.required(f"{path}.patch", "a patch")
    elif config_patch.patch.operation == "INVALID":
        yield rules.required(f"{path}.patch.operation", "an operation")
    elif config_patch.patch.operation != "REMOVE" and config_patch.patch.value is None:
        yield rules.required(f"{path}.patch.value", "a value")
    if config_patch.match is not None:
        yield from _match(f"{path}.match", config_patch.match)


def _match(path: str, match: ObjectMatch) -> Iterator[Finding]:
    objects = [name for field, name in _OBJECTS if getattr(match, field) is not None]
    if len(objects) > 1:
        yield rules.conflict(path, f"expected at most one of {', '.join(objects)}")
    if (match.context == "WAYPOINT") is not (match.waypoint is not None):
        yield rules.conflict(f"{path}.waypoint", "expected it with the context WAYPOINT, and only there")
    if match.proxy and len(match.proxy.proxy_version) > _MAX_VERSION:
        yield rules.warning(
            f"{path}.proxy.proxyVersion", "TooLong", f"expected a pattern of at most {_MAX_VERSION} characters: it fits no proxy"
        )
    if match.listener:
        yield from _listener(f"{path}.listener", match.listener)


def _listener(path: str, match: ListenerMatch) -> Iterator[Finding]:
    network_filter = match.filter_chain.filter if match.filter_chain else None
    if network_filter and network_filter.sub_filter is not None and network_filter.name not in _MANAGER:
        yield rules.conflict(f"{path}.filterChain.filter", f"expected the name {_MANAGER[0]} with a subFilter")
