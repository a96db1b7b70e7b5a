"""Hosts that several objects route or declare: each of them is told, however many there are, from one look at the host."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from controlplane.incremental.database import Database, query
from controlplane.mesh.facets import NO_ONE, qualified_host
from controlplane.mesh.gateway_bindings import MESH_GATEWAY
from controlplane.mesh.problems.precedence import named, why_first
from controlplane.mesh.registry.services import declarers, host_owner, is_foreign, services_named
from controlplane.mesh.routing.virtual_services import virtual_service_head, virtual_services_for
from controlplane.model.keys import Key
from controlplane.model.mesh import FOREIGN_ROUTES, REFUSE
from controlplane.model.problems import Problem, Severity
from controlplane.objects.networking.virtual_service import VirtualService

_SHOWN = 3


class HostRivals(NamedTuple):
    """The VirtualServices that route one host: the ``first``, whose routes are used, when it was ``created``, and some of the others."""

    first: Key
    created: str
    others: tuple[Key, ...]
    others_count: int


@query
def host_rivals(db: Database, host: str) -> HostRivals | None:
    """Return the VirtualServices for ``host`` itself in the mesh, where there are several."""
    heads = [head for head in virtual_services_for(db, host) if host in head.hosts and not is_foreign(db, head.key.namespace, host)]
    if len(heads) < 2:
        return None
    first, *others = heads
    return HostRivals(first.key, first.created, tuple(head.key for head in others[:_SHOWN]), len(others))


def host_conflicts(db: Database, virtual_service: VirtualService) -> Iterator[Problem]:
    """Yield which hosts of ``virtual_service`` others route too."""
    key = virtual_service.key
    head = virtual_service_head(db, key)
    if head is None or MESH_GATEWAY not in head.gateways:
        return  # at gateways the routes of several are merged
    for position, host in enumerate(virtual_service.spec.hosts):
        rivals = host_rivals(db, qualified_host(host, key.namespace))
        if rivals is None:
            continue
        if rivals.first == key:
            message = f"{host} is routed by {named(rivals.others, rivals.others_count)} too, whose routes for it are not used"
        else:
            reason = why_first(rivals.created, head.created)
            message = f"{host} is routed by {rivals.first}, {reason}: this object's routes for it are not used"
        yield Problem(key, f"spec.hosts[{position}]", Severity.WARNING, "Conflict", message)


def foreign_hosts(db: Database, virtual_service: VirtualService) -> Iterator[Problem]:
    """Yield which hosts of ``virtual_service`` are not of its namespace, where its routes for them hold for nobody else."""
    key = virtual_service.key
    head = virtual_service_head(db, key)
    if head is None or MESH_GATEWAY not in head.gateways or head.export_to in ((key.namespace,), (NO_ONE,)):
        return
    for position, host in enumerate(head.hosts):
        if is_foreign(db, key.namespace, host):
            owner = host_owner(db, host)
            whose = f"{host} is of the namespace {owner}" if owner else f"no Service or ServiceEntry of {key.namespace} has {host}"
            message = f"{whose}, and this mesh has {FOREIGN_ROUTES}: {REFUSE}, so these routes hold for clients in {key.namespace} alone"
            yield Problem(key, f"spec.hosts[{position}]", Severity.WARNING, "ForeignHost", message)


@query
def unused_declarers(db: Database, host: str, namespace: str) -> tuple[Key, ...]:
    """Return the objects of ``namespace`` that declare ``host`` and are not used there, or not for all of their ports."""
    used = {ref.key for ref in services_named(db, host, namespace) if not ref.hidden}
    return tuple(key for key in declarers(db, host) if key.namespace == namespace and key not in used)
