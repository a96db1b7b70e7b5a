"""Where the filters of faults stand, and what they do: nothing before a fault is in force, and nothing once its lease has run out.

A fault in requests begins and ends by what ECDS says of its places, and by nothing else, so it begins and ends for all requests at once, in
connections that are open too. A filter of connections is made when one is opened; so its place comes with the fault, which has proxies
leave the connections that they have. Why, is in ``docs/decisions/drills.md``.
"""

from __future__ import annotations

from typing import NamedTuple

from controlplane.envoy.packing import pack
from controlplane.envoy.type_urls import ECDS
from controlplane.incremental.database import Database, query
from controlplane.ir.extensions.chains import ChainExtension, ExtensionEngine, ExtensionLevel, ExtensionPhase
from controlplane.mesh.facets import about_host
from controlplane.mesh.faults.selection import callee_port_numbers, caller_uris, carries_requests, fault_of, fault_ports
from controlplane.mesh.inputs import faults, index, objects
from controlplane.mesh.publish.encode import checked_resource
from controlplane.mesh.publish.parts import ResourcePart
from controlplane.model.cluster_names import OUTBOUND, cluster_name
from controlplane.model.faults.faults import DrillFault, FaultId, FaultSide, FaultStage
from controlplane.model.faults.kinds import CloseConnections, DistrustCallers, EndpointFault, PartCallers, SwallowRequests
from controlplane.model.keys import DESTINATION_RULE, Key
from controlplane.objects.networking.destination_rule import DestinationRule
from controlplane.translate.faults.connections import connection_filter
from controlplane.translate.faults.requests import FaultScope, request_filters
from controlplane.translate.filters.extensions.places import stand_in_config, typed_config
from controlplane.xds.resource import Resource, leased

MOST_CLUSTERS = 32  # of one fault at the caller: each has a filter of its own


class FaultPlace(NamedTuple):
    """A filter of a fault: where it stands, what it acts on, and which of several filters there it is."""

    extension: ChainExtension
    scope: FaultScope
    position: int = 0


_Found = tuple[FaultScope, int, ExtensionLevel, frozenset[int] | None]


@query
def fault_places(db: Database, fault_id: FaultId) -> tuple[FaultPlace, ...]:
    """Return the places of ``fault_id``."""
    fault = fault_of(db, fault_id)
    if fault is None:
        return ()
    if fault.acts_at is FaultSide.CALLER:
        scopes = (FaultScope(),) if isinstance(fault.kind, EndpointFault) else tuple(map(FaultScope, clusters_of(db, fault)))
        found: list[_Found] = [(scope, position, ExtensionLevel.HTTP, None) for scope in scopes for position in _positions(fault, scope)]
    else:
        found = _at_callee(db, fault)
    return tuple(
        FaultPlace(_extension(f"{fault_id.filter_name}/{number}", level, ports), scope, position)
        for number, (scope, position, level, ports) in enumerate(found)
    )


def _at_callee(db: Database, fault: DrillFault) -> list[_Found]:
    callers = caller_uris(db, fault.id)
    if callers == ():
        return []
    scope = FaultScope(callers=callers)
    of_requests = callee_port_numbers(db, fault.id, True)  # noqa: FBT003
    others = callee_port_numbers(db, fault.id, False)  # noqa: FBT003
    if isinstance(fault.kind, CloseConnections | PartCallers | DistrustCallers):
        return _at_connections(db, fault.id, scope, of_requests | others)
    found: list[_Found] = [(scope, position, ExtensionLevel.HTTP, of_requests) for position in _positions(fault, scope) if of_requests]
    return found + (_at_connections(db, fault.id, scope, others) if isinstance(fault.kind, SwallowRequests) else [])


def _at_connections(db: Database, fault_id: FaultId, scope: FaultScope, ports: frozenset[int]) -> list[_Found]:
    """Return the place of ``fault_id`` in connections to ``ports``: there once it is in force, so that those from before are left."""
    return [(scope, 0, ExtensionLevel.NETWORK, ports)] if ports and is_in_force(db, fault_id) else []


@query
def is_in_force(db: Database, fault_id: FaultId) -> bool:
    """Return whether ``fault_id`` is in force, as far as it depends on us."""
    staged = faults(db, fault_id)
    return staged is not None and staged.stage is FaultStage.IN_FORCE


def _positions(fault: DrillFault, scope: FaultScope) -> range:
    return range(len(request_filters(fault, scope)))


def clusters_of(db: Database, fault: DrillFault) -> list[str]:
    """Return the clusters that lead to the service of ``fault``, with those of all subsets that DestinationRules name."""
    rules = (objects(db, key) for key in sorted(index(db, about_host(DESTINATION_RULE, fault.host))))
    subsets = sorted({subset.name for rule in rules if isinstance(rule, DestinationRule) for subset in rule.spec.subsets})
    numbers = sorted({port.number for _, port in fault_ports(db, fault) if carries_requests(port)})
    return [cluster_name(OUTBOUND, number, subset, fault.host) for subset in ("", *subsets) for number in numbers][:MOST_CLUSTERS]


def _extension(name: str, level: ExtensionLevel, ports: frozenset[int] | None) -> ChainExtension:
    return ChainExtension(
        name=name, phase=ExtensionPhase.UNSPECIFIED, level=level, engine=ExtensionEngine.FAULT, fail_open=True, ports=ports
    )


def fault_extensions(db: Database, key: Key, side: FaultSide) -> tuple[ChainExtension, ...]:
    """Return the filters of the fault ``key`` in chains on ``side``; none where it acts on the other side, or is no fault."""
    fault_id = FaultId.of(key)
    fault = fault_of(db, fault_id) if fault_id else None
    if fault is None or fault.acts_at is not side:
        return ()
    return tuple(place.extension for place in fault_places(db, fault.id))


def fault_parts(db: Database, key: Key) -> frozenset[ResourcePart]:
    """Return what the filters of the fault ``key`` do."""
    fault_id = FaultId.of(key)
    places = fault_places(db, fault_id) if fault_id else ()
    return frozenset(ResourcePart(fault_config, (fault_id, place)) for place in places)


@query
def fault_config(db: Database, fault_id: FaultId, place: FaultPlace) -> Resource | None:
    """Return what the filter at ``place`` does: nothing, or while ``fault_id`` is in force what that is, for as long as its lease."""
    staged = faults(db, fault_id)
    if staged is None:
        return None
    extension, scope = place.extension, place.scope
    nothing = checked_resource(ECDS, extension.name, stand_in_config(extension))
    if staged.stage is not FaultStage.IN_FORCE:
        return nothing
    if extension.level is ExtensionLevel.NETWORK:
        message = pack(connection_filter(staged.fault, scope.callers))
    else:
        message = pack(request_filters(staged.fault, scope)[place.position])
    return leased(checked_resource(ECDS, extension.name, typed_config(extension.name, message)), staged.lease_ms, nothing)
