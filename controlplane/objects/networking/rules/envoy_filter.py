"""What EnvoyFilters must keep to. What is wrong with the content of one patch takes that patch away, and not the object.

https://istio.io/latest/docs/reference/config/networking/envoy-filter/
"""

from __future__ import annotations

from collections.abc import Iterator

from controlplane.model.keys import KUBERNETES_GATEWAY
from controlplane.objects.networking.envoy_filter import EnvoyFilter, ListenerMatch, ObjectMatch, ObjectPatch
from controlplane.objects.networking.envoy_patches import MAX_VERSION, patch_findings
from controlplane.objects.types import rules
from controlplane.objects.types.findings import Finding

_MANAGER = ("envoy.filters.network.http_connection_manager", "envoy.http_connection_manager")
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
        if (target_ref.group, target_ref.kind) != KUBERNETES_GATEWAY:
            message = f"a {target_ref.kind} has no proxy of its own here: only a Gateway of {KUBERNETES_GATEWAY.group} can be meant"
            yield rules.warning(f"spec.targetRefs[{index}].kind", "Ineffective", message)
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
    else:
        for finding in patch_findings(config_patch):
            fate = ": this patch has no effect, the others do" if finding.fatal else ""
            yield rules.warning(f"{path}.{finding.path}", finding.code, f"{finding.message}{fate}")
    if config_patch.match is not None:
        yield from _match(f"{path}.match", config_patch.match)


def _match(path: str, match: ObjectMatch) -> Iterator[Finding]:
    objects = [name for field, name in _OBJECTS if getattr(match, field) is not None]
    if len(objects) > 1:
        yield rules.conflict(path, f"expected at most one of {', '.join(objects)}")
    if (match.context == "WAYPOINT") is not (match.waypoint is not None):
        yield rules.conflict(f"{path}.waypoint", "expected it with the context WAYPOINT, and only there")
    if match.proxy and len(match.proxy.proxy_version) > MAX_VERSION:
        yield rules.warning(
            f"{path}.proxy.proxyVersion", "TooLong", f"expected a pattern of at most {MAX_VERSION} characters: it fits no proxy"
        )
    if match.listener:
        yield from _listener(f"{path}.listener", match.listener)


def _listener(path: str, match: ListenerMatch) -> Iterator[Finding]:
    network_filter = match.filter_chain.filter if match.filter_chain else None
    if network_filter and network_filter.sub_filter is not None and network_filter.name not in _MANAGER:
        yield rules.conflict(f"{path}.filterChain.filter", f"expected the name {_MANAGER[0]} with a subFilter")
