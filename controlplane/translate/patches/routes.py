"""Patches to route configurations, and to the virtual hosts and routes in them."""

from __future__ import annotations

from collections.abc import Iterable

from envoy.config.route.v3.route_components_pb2 import Route, VirtualHost
from envoy.config.route.v3.route_pb2 import RouteConfiguration

from controlplane.envoy.patching.merging import merge
from controlplane.envoy.patching.patch_values import message_of
from controlplane.translate.patches.filter_lists import replace_items
from controlplane.translate.patches.patch import EnvoyPatch, PatchOperation, PatchOutcome, PatchRefused
from controlplane.translate.patches.places import IN_VIRTUAL_HOSTS, ROUTE_PATCHES, is_route, is_route_table, is_virtual_host, names_route
from controlplane.translate.patches.soundness import why_refused


def patched_route_table(
    table: RouteConfiguration, patches: Iterable[EnvoyPatch], outcome: PatchOutcome, taken: frozenset[str] = frozenset()
) -> RouteConfiguration:
    """Return what ``patches`` make of ``table``, and note in ``outcome`` what became of each.

    ``taken`` are domains of virtual hosts that are in the table, though not in ``table``.
    """
    current = table
    for patch in patches:
        candidate = RouteConfiguration()
        candidate.CopyFrom(current)
        try:
            if not patch_route_table(candidate, patch):
                continue
            refused = why_refused(candidate) or _claimed(candidate, current, taken)
            if candidate.name != current.name:
                refused = "the name of a route configuration cannot be changed"
        except PatchRefused as error:
            refused = str(error)
        if refused:
            outcome.note_fault(patch, f"route configuration {table.name} stays without it: {refused}")
        else:
            outcome.applied.append(patch.ref)
            current = candidate
    return current


def _claimed(candidate: RouteConfiguration, before: RouteConfiguration, taken: frozenset[str]) -> str | None:
    """Return what is wrong where ``candidate`` has domains that are ``taken`` elsewhere, which it had not ``before``."""
    had = {domain for host in before.virtual_hosts for domain in host.domains}
    claimed = next((domain for host in candidate.virtual_hosts for domain in host.domains if domain in taken and domain not in had), None)
    return f"the domain {claimed} is another virtual host's" if claimed else None


def patched_virtual_host(
    table: str, host: VirtualHost, patches: Iterable[EnvoyPatch], outcome: PatchOutcome, taken: frozenset[str] = frozenset()
) -> VirtualHost | None:
    """Return what ``patches`` make of ``host`` of the route configuration ``table``; ``None``: one has removed it."""
    current = host
    for patch in patches:
        place = patch.head.place
        if patch.head.apply_to not in IN_VIRTUAL_HOSTS or not is_route_table(place, table) or not is_virtual_host(place, current):
            continue
        candidate = VirtualHost()
        candidate.CopyFrom(current)
        try:
            if patch.head.apply_to == "VIRTUAL_HOST" and patch.head.operation is PatchOperation.REMOVE:
                outcome.applied.append(patch.ref)
                return None
            if not _patch_host(candidate, patch):
                continue
            refused = why_refused(candidate) or _renamed(candidate, current, taken)
        except PatchRefused as error:
            refused = str(error)
        if refused:
            outcome.note_fault(patch, f"virtual host {host.name} stays without it: {refused}")
        else:
            outcome.applied.append(patch.ref)
            current = candidate
    return current


def _renamed(candidate: VirtualHost, before: VirtualHost, taken: frozenset[str]) -> str | None:
    if candidate.name != before.name:
        return "the name of a virtual host cannot be changed"
    twice = next((domain for domain in candidate.domains if list(candidate.domains).count(domain) > 1), None)
    claimed = next((domain for domain in candidate.domains if domain in taken and domain not in before.domains), None)
    if twice or claimed:
        return f"the domain {twice or claimed} is in two places"
    return None


def patch_route_table(table: RouteConfiguration, patch: EnvoyPatch) -> bool:
    """Apply ``patch`` to ``table`` and the virtual hosts in it; return whether it was for anything there."""
    head = patch.head
    if head.apply_to not in ROUTE_PATCHES or not is_route_table(head.place, table.name):
        return False
    if head.apply_to == "ROUTE_CONFIGURATION":
        merge(table, message_of(head.apply_to, patch.value), patch.cleared, replaces_lists=_replaces_lists(patch))
        return True
    if head.apply_to == "VIRTUAL_HOST" and head.operation is PatchOperation.ADD:
        added = message_of(head.apply_to, patch.value)
        table.virtual_hosts.extend([added] if isinstance(added, VirtualHost) else [])
        return True
    matching = [index for index, host in enumerate(table.virtual_hosts) if is_virtual_host(head.place, host)]
    if head.apply_to == "VIRTUAL_HOST" and head.operation is PatchOperation.REMOVE:
        for index in reversed(matching):
            del table.virtual_hosts[index]
        return bool(matching)
    return bool([index for index in matching if _patch_host(table.virtual_hosts[index], patch)])


def _patch_host(host: VirtualHost, patch: EnvoyPatch) -> bool:
    """Apply ``patch`` to ``host``, which it is for, or to the routes in it."""
    if patch.head.apply_to == "HTTP_ROUTE":
        return _patch_routes(host, patch)
    if not patch.head.operation.merges:
        return False
    merge(host, message_of("VIRTUAL_HOST", patch.value), patch.cleared, replaces_lists=_replaces_lists(patch))
    return True


def _patch_routes(host: VirtualHost, patch: EnvoyPatch) -> bool:
    routes = list(host.routes)
    value = message_of("HTTP_ROUTE", patch.value)
    found = [index for index, route in enumerate(routes) if is_route(patch.head.place, route)]
    named = names_route(patch.head.place)
    if not isinstance(value, Route) or (named and not found and patch.head.operation is not PatchOperation.ADD):
        return False
    match patch.head.operation:
        case PatchOperation.ADD:
            routes.append(value)
        case PatchOperation.INSERT_FIRST:
            routes.insert(0, value)
        case PatchOperation.INSERT_BEFORE:
            routes.insert(found[0] if named else 0, value)
        case PatchOperation.INSERT_AFTER:
            routes.insert(found[-1] + 1 if named else len(routes), value)
        case PatchOperation.REMOVE:
            routes = [route for index, route in enumerate(routes) if index not in found]
        case _:
            for index in found:
                merge(routes[index], value, patch.cleared, replaces_lists=_replaces_lists(patch))
            if not found:
                return False
    replace_items(host.routes, routes)
    return True


def _replaces_lists(patch: EnvoyPatch) -> bool:
    return patch.head.operation is PatchOperation.MERGE_AND_REPLACE_LIST
