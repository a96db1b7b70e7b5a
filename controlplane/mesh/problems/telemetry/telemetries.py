"""Problems of Telemetries among other objects."""

from __future__ import annotations

from collections.abc import Iterator

from controlplane.incremental.database import Database
from controlplane.ir.telemetry.listeners import Side
from controlplane.mesh.problems.access import attachment_problems
from controlplane.mesh.problems.gateways import gateway_workloads
from controlplane.mesh.problems.telemetry.providers import Use, provider_problems
from controlplane.mesh.registry.attachments import policy_attachment
from controlplane.mesh.registry.mesh_settings import mesh_settings
from controlplane.mesh.telemetry.providers import mesh_spec
from controlplane.mesh.telemetry.selection import (
    effective_telemetries,
    metrics_entries,
    telemetries_by_age,
    telemetry_specs,
    unselective_telemetry,
)
from controlplane.mesh.telemetry.settings_tracer import tracer_of_settings
from controlplane.mesh.telemetry.tracing import merged_tracing
from controlplane.model.keys import Key
from controlplane.model.problems import Problem, Severity
from controlplane.objects.extensions.telemetry import Telemetry, TelemetrySpec

_FIELDS = ("tracing", "metrics", "access_logging")


def telemetry_problems(db: Database, telemetry: Telemetry) -> Iterator[Problem]:
    """Yield what is wrong between ``telemetry`` and other objects."""
    yield from attachment_problems(db, telemetry)
    yield from _place_problems(db, telemetry)
    for path, name, use in _named_providers(telemetry.spec):
        yield from provider_problems(db, telemetry.key, path, name, use)
    yield from _without_provider(db, telemetry)
    for index, tracing in enumerate(telemetry.spec.tracing):
        path = f"spec.tracing[{index}]"
        if len(tracing.providers) > 1:
            yield _warning(telemetry, f"{path}.providers[1]", "Ineffective", "spans go to one provider: only the first is used")
        if tracing.disable_context_propagation:
            message = "Envoys before 1.38 do not know this: they send the headers of the trace on"
            yield Problem(telemetry.key, f"{path}.disableContextPropagation", Severity.INFO, "OldEnvoys", message)


def _place_problems(db: Database, telemetry: Telemetry) -> Iterator[Problem]:
    """Yield what other Telemetries have to do with the workloads that ``telemetry`` is for."""
    key = telemetry.key
    target = policy_attachment(db, key)
    if target is None:
        return
    if not target.selective:
        holds = unselective_telemetry(db, key.namespace)
        if holds and holds != key:
            yield _warning(telemetry, "", "Conflict", f"{holds} has no selector either, and is older: this one holds nowhere")
        return
    if key.namespace == mesh_settings(db).root_namespace and not target.own_namespace_only:
        message = "a Telemetry with a selector holds in its own namespace alone, which is the root namespace: elsewhere nothing comes of it"
        yield _warning(telemetry, "spec.selector", "Ineffective", message)
    for other in _overriding(db, telemetry):
        message = f"{other} selects the same workloads, and is younger: where both say something it decides"
        yield _warning(telemetry, "spec.selector", "Conflict", message)


def _overriding(db: Database, telemetry: Telemetry) -> Iterator[Key]:
    """Yield the younger Telemetries that select a pod that ``telemetry`` selects, and say something of the same."""
    keys = telemetries_by_age(db, telemetry.key.namespace)
    pods = _selected(db, telemetry.key)
    subjects = _subjects(telemetry.spec)
    for key in keys[keys.index(telemetry.key) + 1 :]:
        if any(subjects & _subjects(spec) for spec in telemetry_specs(db, (key,))) and pods & _selected(db, key):
            yield key


def _subjects(spec: TelemetrySpec) -> set[str]:
    return {field for field in _FIELDS if getattr(spec, field)}


def _selected(db: Database, key: Key) -> set[object]:
    target = policy_attachment(db, key)
    if target is None or not target.selective:
        return set()
    return {pod for choice in target.choices for pod in gateway_workloads(db, choice) if pod[0] == key.namespace}


def _named_providers(spec: TelemetrySpec) -> Iterator[tuple[str, str, Use]]:
    for index, tracing in enumerate(spec.tracing):
        if tracing.providers:
            yield f"spec.tracing[{index}].providers[0].name", tracing.providers[0].name, "traces"
    for index, metrics in enumerate(spec.metrics):
        for position, ref in enumerate(metrics.providers):
            yield f"spec.metrics[{index}].providers[{position}].name", ref.name, "metrics"
    for index, logging in enumerate(spec.access_logging):
        for position, ref in enumerate(logging.providers):
            yield f"spec.accessLogging[{index}].providers[{position}].name", ref.name, "access logs"


def _without_provider(db: Database, telemetry: Telemetry) -> Iterator[Problem]:
    """Yield that nobody has named a provider for what ``telemetry`` asks for."""
    target = policy_attachment(db, telemetry.key)
    if target is None or not target.choices:
        return
    keys = effective_telemetries(db, telemetry.key.namespace, target.choices[0])
    missing = "neither this Telemetry names a provider, nor one that it adds to, nor defaultProviders of the mesh's settings"
    merged = [merged_tracing(db, keys, side) for side in Side]
    if telemetry.spec.tracing and not any(each.disabled or each.provider for each in merged) and tracer_of_settings(db, None) is None:
        yield _warning(telemetry, "spec.tracing", "NoProvider", f"{missing}: there are no traces by it")
    named = mesh_spec(db).default_providers.access_logging or any(
        entry.providers for spec in telemetry_specs(db, keys) for entry in spec.access_logging
    )
    if not named and any(not entry.disabled for entry in telemetry.spec.access_logging):
        yield _warning(telemetry, "spec.accessLogging", "NoProvider", f"{missing}: there are no access logs by it")
    counted = mesh_spec(db).default_providers.metrics or any(entry.providers for entry in metrics_entries(db, keys))
    if telemetry.spec.metrics and not counted:
        yield _warning(telemetry, "spec.metrics", "NoProvider", f"{missing}: nothing is counted by it")


def _warning(telemetry: Telemetry, path: str, code: str, message: str) -> Problem:
    return Problem(telemetry.key, path, Severity.WARNING, code, message)
