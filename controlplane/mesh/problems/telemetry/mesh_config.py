"""Problems of the mesh's settings as far as they say where telemetry goes."""

from __future__ import annotations

from collections.abc import Iterator

from controlplane.incremental.database import Database
from controlplane.mesh.problems.telemetry.providers import provider_problems, service_problems
from controlplane.mesh.telemetry.access_logs import services_of_settings
from controlplane.mesh.telemetry.settings_tracer import tracer_of_settings
from controlplane.model.keys import Key
from controlplane.model.problems import Problem
from controlplane.objects.mesh.mesh_config import ENTRY, MeshConfig

_PATH = f"data.{ENTRY}"


def telemetry_settings_problems(db: Database, mesh_config: MeshConfig) -> Iterator[Problem]:
    """Yield what is wrong with the providers that the settings ``mesh_config`` name, and with where they have traces go."""
    key, defaults = mesh_config.key, mesh_config.spec.default_providers
    for index, name in enumerate(defaults.tracing):
        yield from provider_problems(db, key, f"{_PATH}.defaultProviders.tracing[{index}]", name, "traces")
    for index, name in enumerate(defaults.metrics):
        yield from provider_problems(db, key, f"{_PATH}.defaultProviders.metrics[{index}]", name, "metrics")
    for index, name in enumerate(defaults.access_logging):
        yield from provider_problems(db, key, f"{_PATH}.defaultProviders.accessLogging[{index}]", name, "access logs")
    yield from _tracer_problems(db, key)
    for service in services_of_settings(db, mesh_config.spec)[:1]:
        yield from service_problems(db, key, f"{_PATH}.defaultConfig.envoyAccessLogService", service, "access logs")


def _tracer_problems(db: Database, key: Key) -> Iterator[Problem]:
    tracer = tracer_of_settings(db, None)
    if tracer is not None:
        yield from service_problems(db, key, f"{_PATH}.defaultConfig.tracing", tracer, "traces")
