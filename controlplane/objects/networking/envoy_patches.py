"""What is wrong with single patches of an EnvoyFilter: each has no effect for itself, and the others go on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from controlplane.envoy.patching.foreign_filters import instead_of
from controlplane.envoy.patching.patch_values import patch_value
from controlplane.objects.networking.envoy_filter import ObjectMatch, ObjectPatch
from controlplane.objects.types.regex import regex_error

BAD_PATCH, NOT_TRANSLATED, UNCHECKED = "BadPatch", "NotTranslated", "Unchecked"
MAX_VERSION = 100  # characters of a pattern
_IN_LISTENERS = frozenset(("LISTENER", "LISTENER_FILTER", "FILTER_CHAIN", "NETWORK_FILTER", "HTTP_FILTER"))
_IN_ROUTES = frozenset(("ROUTE_CONFIGURATION", "VIRTUAL_HOST", "HTTP_ROUTE"))
_NAMED = frozenset(("REMOVE", "REPLACE"))


class PatchFinding(NamedTuple):
    """What is wrong at ``path`` of a patch; ``fatal``: it has no effect."""

    path: str
    code: str
    message: str
    fatal: bool = True


def patch_findings(config_patch: ObjectPatch) -> Iterator[PatchFinding]:
    """Yield what is wrong with ``config_patch``, which says what is patched, and how."""
    match, patch = config_patch.match or ObjectMatch(), config_patch.patch
    if patch is None or config_patch.apply_to == "INVALID" or patch.operation == "INVALID":
        return
    for fault in patch_value(config_patch.apply_to, patch.operation, patch.value).faults:
        if fault.passed_on:
            yield PatchFinding(
                f"patch.{fault.path}", UNCHECKED, f"{fault.message}: it is sent as it is, and the proxy decides", fatal=False
            )
        else:
            yield PatchFinding(f"patch.{fault.path}", BAD_PATCH, fault.message)
    if patch.filter_class != "UNSPECIFIED" and (config_patch.apply_to, patch.operation) != ("HTTP_FILTER", "ADD"):
        message = "it says where an HTTP_FILTER is put by ADD: here it has no effect"
        yield PatchFinding("patch.filterClass", "Ineffective", message, fatal=False)
    yield from _match_findings(config_patch.apply_to, match)
    yield from _target_findings(config_patch.apply_to, patch.operation, match, patch.value or "")


def _match_findings(apply_to: str, match: ObjectMatch) -> Iterator[PatchFinding]:
    if match.context == "WAYPOINT" or match.waypoint:
        yield PatchFinding("match.waypoint", NOT_TRANSLATED, "there are no waypoints here: this patch is for no proxy")
    wanted = "listener" if apply_to in _IN_LISTENERS else "routeConfiguration" if apply_to in _IN_ROUTES else "cluster"
    written = {"listener": match.listener, "routeConfiguration": match.route_configuration, "cluster": match.cluster}
    for name, given in written.items():
        if given is not None and (name != wanted or apply_to in {"EXTENSION_CONFIG", "BOOTSTRAP"}):
            yield PatchFinding(f"match.{name}", BAD_PATCH, f"{apply_to} is not matched by {name}: it would be for nothing")
    if match.proxy and apply_to == "BOOTSTRAP":
        yield PatchFinding("match.proxy", BAD_PATCH, "a proxy that is only being started has not said yet what it is")
    if match.listener and match.listener.port_name:
        yield PatchFinding("match.listener.portName", NOT_TRANSLATED, "listeners have no names of ports: expected portNumber")
    pattern = match.proxy.proxy_version if match.proxy else ""
    if len(pattern) <= MAX_VERSION and (error := regex_error(pattern)):
        yield PatchFinding("match.proxy.proxyVersion", BAD_PATCH, error)
    chain = match.listener.filter_chain if match.listener else None
    network_filter = chain.filter if chain else None
    names = {"filter.name": network_filter.name if network_filter else ""}
    if network_filter and network_filter.sub_filter:
        names["filter.subFilter.name"] = network_filter.sub_filter.name
    for path, name in names.items():
        if instead := instead_of(name):
            message = f"{name} is a filter of Istio's own proxies, which no stock Envoy has: {instead}"
            yield PatchFinding(f"match.listener.filterChain.{path}", BAD_PATCH, message)


def _target_findings(apply_to: str, operation: str, match: ObjectMatch, value: str) -> Iterator[PatchFinding]:
    """Yield that it cannot be known which filter is meant."""
    listener = match.listener
    network_filter = listener.filter_chain.filter if listener and listener.filter_chain else None
    sub_filter = network_filter.sub_filter if network_filter else None
    fields = {
        "LISTENER_FILTER": ("listenerFilter", listener.listener_filter if listener else ""),
        "NETWORK_FILTER": ("filterChain.filter.name", network_filter.name if network_filter else ""),
        "HTTP_FILTER": ("filterChain.filter.subFilter.name", sub_filter.name if sub_filter else ""),
    }
    if apply_to not in fields or fields[apply_to][1]:
        return
    named_by_value = operation in {"MERGE", "MERGE_AND_REPLACE_LIST"} and '"name":' in value
    if operation in _NAMED or (operation.startswith("MERGE") and not named_by_value):
        yield PatchFinding(f"match.listener.{fields[apply_to][0]}", BAD_PATCH, f"{operation} has to say which filter is meant")
