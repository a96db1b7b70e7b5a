"""Faults of VirtualServices that the callee makes: the caller's route asks for them in headers, and a filter before the callee does so.

https://www.envoyproxy.io/docs/envoy/latest/configuration/http/http_filters/fault_filter#controlling-fault-injection-via-http-headers
"""

from __future__ import annotations

from collections.abc import Iterable

from controlplane.incremental.database import Database
from controlplane.mesh.facets import faulted_at_callee, qualified_host
from controlplane.mesh.inputs import index
from controlplane.mesh.registry.services import ServiceRef, declarers, service
from controlplane.objects.networking.fault_side import faults_at_callee
from controlplane.objects.networking.virtual_service import HTTPRoute, VirtualService


def is_at_callee(db: Database, virtual_service: VirtualService, route: HTTPRoute) -> bool:
    """Return whether the fault of ``route`` of ``virtual_service``, perhaps from a delegate, is made by those whom it leads to."""
    if not (faults_at_callee(virtual_service) and route.fault and route.route):
        return False
    hosts = {qualified_host(each.destination.host, virtual_service.key.namespace) for each in route.route}
    return all(index(db, faulted_at_callee(host)) and _is_in_mesh(db, host) for host in sorted(hosts))


def makes_requested_faults(db: Database, hosts: Iterable[str]) -> bool:
    """Return whether instances of the services ``hosts`` make faults that they are asked for."""
    return any(index(db, faulted_at_callee(host)) for host in sorted(set(hosts)))


def _is_in_mesh(db: Database, host: str) -> bool:
    found = [service(db, ServiceRef(host, key)) for key in sorted(declarers(db, host))]
    return bool(found) and not any(each is None or each.external for each in found)
