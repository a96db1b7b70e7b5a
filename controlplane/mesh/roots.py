"""What a proxy sees, its scope and the patches to that, and the roots of its tables, by its type."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from controlplane.incremental.database import Database, query
from controlplane.mesh.access.rate_limit_service import RateLimitServiceScope, rate_limit_service_parts
from controlplane.mesh.gateway.gateways import GatewayScope, gateway_scope
from controlplane.mesh.gateway.resources import gateway_parts
from controlplane.mesh.patches.added import named_hosts, patched_root
from controlplane.mesh.patches.selection import Patches, ProxyPatches, patches_of
from controlplane.mesh.publish.parts import Members, OpenGroup, PartGroup
from controlplane.mesh.publish.reduced_parts import reduced, whole
from controlplane.mesh.routing.scopes import OutboundScope, ProxyScope, proxy_scope
from controlplane.mesh.sidecar.inbound import inbound_parts
from controlplane.mesh.sidecar.outbound import outbound_connection_parts, outbound_parts
from controlplane.mesh.telemetry.connections import ConnectionScope
from controlplane.model.envoy_versions import takes_vhds
from controlplane.model.proxies import Proxy, ProxyType
from controlplane.translate.patches.patch import PatchContext, PatchRef
from controlplane.xds.stream import Variant, VirtualHostsBy

Scope = ProxyScope | GatewayScope | RateLimitServiceScope


class SeenByProxy(NamedTuple):
    """What a proxy sees: its scope, of a workload, a gateway or a rate limit service, and the patches to that."""

    scope: Scope
    patches: ProxyPatches


@query
def seen_by(db: Database, proxy: Proxy) -> SeenByProxy:
    """Return what ``proxy`` sees."""
    patches = patches_of(db, proxy)
    if patches.outbound or patches.inbound:
        patches = patches._replace(hosts=named_hosts(db, patches.outbound + patches.inbound))
    return SeenByProxy(_scope_of(db, proxy), patches)


def _scope_of(db: Database, proxy: Proxy) -> Scope:
    match proxy.type:
        case ProxyType.SIDECAR:
            return proxy_scope(db, proxy)
        case ProxyType.ROUTER:
            return gateway_scope(db, proxy)
        case ProxyType.RATE_LIMIT_SERVICE:
            return RateLimitServiceScope(proxy.namespace)


def virtual_hosts_by(proxy: Proxy, variant: Variant) -> VirtualHostsBy:
    """Return how virtual hosts come to a stream of ``proxy`` that speaks ``variant``: SotW has no VHDS, and old Envoys refuse it on ADS."""
    return VirtualHostsBy.VHDS if variant is Variant.DELTA and takes_vhds(proxy.envoy) else VirtualHostsBy.RDS


def table_roots(seen: SeenByProxy, hosts_by: VirtualHostsBy, lacking: frozenset[str] = frozenset()) -> tuple[PartGroup, ...]:
    """Return the roots of the tables of a proxy that sees ``seen``, on a stream to which virtual hosts come ``hosts_by``.

    The proxy's build has not the extensions ``lacking``.
    """
    return tuple(reduced(root, lacking) for root in _whole_roots(seen, hosts_by))


def _whole_roots(seen: SeenByProxy, hosts_by: VirtualHostsBy) -> tuple[PartGroup, ...]:
    scope, patches = seen
    match scope:
        case ProxyScope():
            inbound = PartGroup(inbound_parts, (scope.workload,))
            return (
                *_outbound_roots(scope.outbound, hosts_by, patches),
                _with_patches(inbound, PatchContext.SIDECAR_INBOUND, patches.inbound, ()),
            )
        case GatewayScope():
            root = PartGroup(gateway_parts, (scope, hosts_by))
            return (_with_patches(root, PatchContext.GATEWAY, patches.outbound, patches.hosts),)
        case RateLimitServiceScope():
            return (PartGroup(rate_limit_service_parts, (scope,)),)


def _outbound_roots(scope: OutboundScope, hosts_by: VirtualHostsBy, patches: ProxyPatches) -> tuple[PartGroup, ...]:
    """Return the roots of what comes from a workload: one table, or where its listeners name the workload, another for them.

    So workloads whose listeners differ in that alone share what they see. What is patched is one table, as what is added is in one alone.
    """
    together = PartGroup(whole_outbound_parts, (scope, hosts_by))
    if patches.outbound or patches.hosts:
        return (_with_patches(together, PatchContext.SIDECAR_OUTBOUND, patches.outbound, patches.hosts),)
    if scope.connections.telemetry.reporter is None:
        return (together,)
    seen = scope._replace(connections=ConnectionScope(), extensions=())
    return PartGroup(outbound_parts, (seen, hosts_by)), OpenGroup(outbound_connection_parts, (scope,))


def patches_in(roots: Iterable[PartGroup]) -> frozenset[PatchRef]:
    """Return the patches to the tables of ``roots``."""
    patched = (root.args[2] for root in map(whole, roots) if root.query is patched_root)
    return frozenset(ref for patches in patched if isinstance(patches, tuple) for ref in patches)


@query
def whole_outbound_parts(_db: Database, scope: OutboundScope, hosts_by: VirtualHostsBy) -> Members:
    """Return what ``scope`` sees and how it handles connections."""
    seen = scope._replace(connections=ConnectionScope(), extensions=())
    return frozenset((PartGroup(outbound_parts, (seen, hosts_by)), PartGroup(outbound_connection_parts, (scope,))))


def is_of_one_workload(root: PartGroup) -> bool:
    """Return whether the table of ``root`` is of one workload alone."""
    inner = root.args[0]
    return root.query is inbound_parts or (isinstance(inner, PartGroup) and inner.query is inbound_parts)


def _with_patches(root: PartGroup, context: PatchContext, patches: Patches, hosts: tuple[str, ...]) -> PartGroup:
    """Return ``root`` itself, which proxies without patches share, unless there are any."""
    return PartGroup(patched_root, (root, context, patches, hosts)) if patches or hosts else root
