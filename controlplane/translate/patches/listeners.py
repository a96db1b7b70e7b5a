"""Patches to listeners, and to the filter chains, network filters and HTTP filters in them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from envoy.config.listener.v3.listener_components_pb2 import Filter, FilterChain, ListenerFilter
from envoy.config.listener.v3.listener_pb2 import Listener
from envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2 import HttpConnectionManager, HttpFilter

from controlplane.envoy.packing import pack
from controlplane.envoy.patching.merging import merge
from controlplane.envoy.patching.message_types import type_name
from controlplane.envoy.patching.patch_values import message_of
from controlplane.translate.patches.filter_lists import patched_filters, replace_items
from controlplane.translate.patches.patch import EnvoyPatch, ListenerPlace, PatchOperation, PatchOutcome, PatchRefused
from controlplane.translate.patches.places import ROUTE_PATCHES, current_name, is_chain, is_listener
from controlplane.translate.patches.routes import patch_route_table
from controlplane.translate.patches.soundness import MANAGER_TYPE, why_refused

# Behind which filters of ours one of a class is put: the last of them that is there.
_AFTER = {
    "AUTHN": ("envoy.filters.http.jwt_authn",),
    "AUTHZ": ("envoy.filters.http.ext_authz", "envoy.filters.http.jwt_authn", "envoy.filters.http.rbac"),
}


def patched_listener(listener: Listener, patches: Iterable[EnvoyPatch], outcome: PatchOutcome) -> Listener | None:
    """Return what ``patches`` make of ``listener``, and note in ``outcome`` what became of each; ``None``: one has removed it."""
    current = listener
    for patch in patches:
        if not is_listener(patch.head.place, current) and patch.head.apply_to not in ROUTE_PATCHES:
            continue
        candidate = Listener()
        candidate.CopyFrom(current)
        try:
            if patch.head.apply_to == "LISTENER" and patch.head.operation is PatchOperation.REMOVE:
                outcome.applied.append(patch.ref)
                return None
            if not _apply(candidate, patch):
                continue
            refused = why_refused(candidate) or (candidate.name != current.name and "the name of a listener cannot be changed") or None
        except PatchRefused as error:
            refused = str(error)
        if refused:
            outcome.note_fault(patch, f"listener {listener.name} stays without it: {refused}")
        else:
            outcome.applied.append(patch.ref)
            current = candidate
    return current


def _apply(listener: Listener, patch: EnvoyPatch) -> bool:
    """Apply ``patch`` to ``listener``; return whether it was for anything in it."""
    match patch.head.apply_to:
        case "LISTENER":
            if not patch.head.operation.merges:
                return False
            merge(listener, message_of("LISTENER", patch.value), patch.cleared, replaces_lists=_replaces_lists(patch))
            return True
        case "LISTENER_FILTER":
            return _patch_listener_filters(listener, patch)
        case "FILTER_CHAIN":
            return _patch_chains(listener, patch)
        case "NETWORK_FILTER":
            return _patch_matching(listener, patch, _patch_network_filters)
        case "HTTP_FILTER":
            return _patch_matching(listener, patch, lambda chain, patch: _patch_managers(chain, patch, _patch_http_filters))
        case _:
            return bool([chain for chain in _chains(listener) if _patch_managers(chain, patch, _patch_inline_routes)])


def _patch_listener_filters(listener: Listener, patch: EnvoyPatch) -> bool:
    value = message_of("LISTENER_FILTER", patch.value)
    place = patch.head.place
    wanted = place.listener_filter if isinstance(place, ListenerPlace) else ""
    filters = list(listener.listener_filters)
    changed = patched_filters(filters, patch, value, wanted, len(filters)) if isinstance(value, ListenerFilter) else None
    if changed is None:
        return False
    replace_items(listener.listener_filters, changed)
    return True


def _patch_chains(listener: Listener, patch: EnvoyPatch) -> bool:
    value = message_of("FILTER_CHAIN", patch.value)
    if patch.head.operation is PatchOperation.ADD and isinstance(value, FilterChain):
        listener.filter_chains.append(value)
        return True
    matching = _matching(listener, patch)
    if patch.head.operation is PatchOperation.REMOVE:
        left = [chain for chain in listener.filter_chains if chain not in matching]
        if listener.default_filter_chain in matching:
            listener.ClearField("default_filter_chain")
        replace_items(listener.filter_chains, left)
    else:
        for chain in matching:
            merge(chain, value, patch.cleared, replaces_lists=_replaces_lists(patch))
    return bool(matching)


def _chains(listener: Listener) -> Iterator[FilterChain]:
    yield from listener.filter_chains
    if listener.HasField("default_filter_chain"):
        yield listener.default_filter_chain


def _matching(listener: Listener, patch: EnvoyPatch) -> list[FilterChain]:
    return [chain for chain in _chains(listener) if is_chain(patch.head.place, chain, listener)]


def _patch_matching(listener: Listener, patch: EnvoyPatch, apply: Callable[[FilterChain, EnvoyPatch], bool]) -> bool:
    return bool([chain for chain in _matching(listener, patch) if apply(chain, patch)])


def _patch_network_filters(chain: FilterChain, patch: EnvoyPatch) -> bool:
    value = message_of("NETWORK_FILTER", patch.value)
    place = patch.head.place
    wanted = current_name(place.network_filter) if isinstance(place, ListenerPlace) else ""
    filters = list(chain.filters)
    changed = patched_filters(filters, patch, value, wanted, max(0, len(filters) - 1)) if isinstance(value, Filter) else None
    if changed is None:
        return False
    replace_items(chain.filters, changed)
    return True


def _patch_managers(chain: FilterChain, patch: EnvoyPatch, apply: Callable[[HttpConnectionManager, EnvoyPatch], bool]) -> bool:
    """Apply ``patch`` by ``apply`` to the HTTP connection managers of ``chain``; return whether it was for any."""
    applied = False
    for each in chain.filters:
        if type_name(each.typed_config.type_url) == MANAGER_TYPE:
            manager = HttpConnectionManager.FromString(each.typed_config.value)
            if apply(manager, patch):
                each.typed_config.CopyFrom(pack(manager))
                applied = True
    return applied


def _patch_http_filters(manager: HttpConnectionManager, patch: EnvoyPatch) -> bool:
    value = message_of("HTTP_FILTER", patch.value)
    place = patch.head.place
    wanted = current_name(place.http_filter) if isinstance(place, ListenerPlace) else ""
    filters = list(manager.http_filters)
    at = _place_of_class(filters, patch.filter_class)
    changed = patched_filters(filters, patch, value, wanted, at) if isinstance(value, HttpFilter) else None
    if changed is None:
        return False
    replace_items(manager.http_filters, changed)
    return True


def _place_of_class(filters: Sequence[HttpFilter], filter_class: str) -> int:
    """Return where a filter of ``filter_class`` is put among ``filters``: before the router, where nothing else is said."""
    before_router = max(0, len(filters) - 1)
    if filter_class not in _AFTER:
        return before_router
    return max((index + 1 for index, each in enumerate(filters) if each.name in _AFTER[filter_class]), default=0)


def _patch_inline_routes(manager: HttpConnectionManager, patch: EnvoyPatch) -> bool:
    return manager.HasField("route_config") and patch_route_table(manager.route_config, patch)


def _replaces_lists(patch: EnvoyPatch) -> bool:
    return patch.head.operation is PatchOperation.MERGE_AND_REPLACE_LIST
