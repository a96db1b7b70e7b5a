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


def check(value: EnvoyFilter) -> Iterator[Finding]:
    """Yield what is wrong with ``value``."""
    spec = value.spec
    if spec.workload_selector is not None:
        yield from rules.selector("spec.workloadSelector.labels", spec.workload_selector.labels)
        if spec.target_refs:
            yield rules.conflict("spec", "expected at most one of workloadSelector, targetRefs")
    for at, each in enumerate(spec.target_refs):
        if each.namespace:
            yield rules.out_of_range(f"spec.targetRefs[{at}].namespace", "nothing: it is for its own namespace", each.namespace)
    for at, patch in enumerate(spec.config_patches):
        yield from _patch(f"spec.configPatches[{at}]", patch)


def _patch(path: str, each: ObjectPatch) -> Iterator[Finding]:
    if each.apply_to == "INVALID":
        yield rules.required(f"{path}.applyTo", "what is patched")
    if each.patch is None:
        yield rules.required(f"{path}.patch", "a patch")
    elif each.patch.operation == "INVALID":
        yield rules.required(f"{path}.patch.operation", "an operation")
    elif each.patch.operation != "REMOVE" and each.patch.value is None:
        yield rules.required(f"{path}.patch.value", "a value")
    if each.match is not None:
        yield from _match(f"{path}.match", each.match)


def _match(path: str, match: ObjectMatch) -> Iterator[Finding]:
    said = [name for field, name in _OBJECTS if getattr(match, field) is not None]
    if len(said) > 1:
        yield rules.conflict(path, f"expected at most one of {', '.join(said)}")
    if (match.context == "WAYPOINT") is not (match.waypoint is not None):
        yield rules.conflict(f"{path}.waypoint", "expected it with the context WAYPOINT, and only there")
    if match.proxy and len(match.proxy.proxy_version) > _MAX_VERSION:
        yield rules.warning(
            f"{path}.proxy.proxyVersion", "TooLong", f"expected a pattern of at most {_MAX_VERSION} characters: it fits no proxy"
        )
    if match.listener:
        yield from _listener(f"{path}.listener", match.listener)


def _listener(path: str, match: ListenerMatch) -> Iterator[Finding]:
    found = match.filter_chain.filter if match.filter_chain else None
    if found and found.sub_filter is not None and found.name not in _MANAGER:
        yield rules.conflict(f"{path}.filterChain.filter", f"expected the name {_MANAGER[0]} with a subFilter")
