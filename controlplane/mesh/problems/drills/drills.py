"""Drills of services that are not there."""

from __future__ import annotations

from collections.abc import Iterator

from controlplane.incremental.database import Database
from controlplane.mesh.facets import qualified_host
from controlplane.mesh.registry.services import find_services
from controlplane.model.problems import Problem, Severity
from controlplane.objects.drills.drill import Drill


def drill_problems(db: Database, drill: Drill) -> Iterator[Problem]:
    """Yield which services ``drill`` names that are not known: it would not be run."""
    spec, namespace = drill.spec, drill.meta.namespace
    for field, edges in (
        ("steadyState", spec.steady_state),
        ("inject", spec.inject),
        ("abortIf", spec.abort_if),
        ("observe", spec.observe),
    ):
        for position, edge in enumerate(edges):
            host = qualified_host(edge.service, namespace)
            if not find_services(db, host, namespace):
                message = f"no service {host} is known: the drill would not be run"
                yield Problem(drill.key, f"spec.{field}[{position}].service", Severity.WARNING, "UnknownHost", message)
