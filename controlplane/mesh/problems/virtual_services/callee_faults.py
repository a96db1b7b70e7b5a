"""Faults that a VirtualService wants made by who is called, and that the callers make all the same."""

from __future__ import annotations

from collections.abc import Iterator

from controlplane.incremental.database import Database
from controlplane.mesh.faults.requested import is_at_callee
from controlplane.mesh.routing.delegates import http_routes
from controlplane.model.problems import Problem, Severity
from controlplane.objects.networking.fault_side import FAULT_SIDE, faults_at_callee
from controlplane.objects.networking.virtual_service import VirtualService


def callee_fault_problems(db: Database, virtual_service: VirtualService) -> Iterator[Problem]:
    """Yield which faults of ``virtual_service`` are not made by the callee."""
    if not faults_at_callee(virtual_service):
        return
    for position, route in enumerate(http_routes(db, virtual_service.key)):
        if route.fault and not is_at_callee(db, virtual_service, route):
            where = f" of route {route.name}" if route.name else ""
            message = (
                f"the fault{where} is made by the callers: it needs destinations that are services of the mesh,"
                f" and in a delegate the annotation {FAULT_SIDE} too"
            )
            path = f"spec.http[{position}].fault" if not any(each.delegate for each in virtual_service.spec.http) else "spec.http"
            yield Problem(virtual_service.key, path, Severity.WARNING, "Ineffective", message)
