"""Problems of the providers that Telemetries and the mesh's settings name."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from controlplane.incremental.database import Database
from controlplane.ir.telemetry.listeners import Side
from controlplane.mesh.registry.services import service
from controlplane.mesh.telemetry.providers import telemetry_provider, telemetry_target
from controlplane.model.keys import Key
from controlplane.model.problems import Problem, Severity
from controlplane.objects.mesh.extension_providers import ExtensionProvider
from controlplane.objects.mesh.telemetry_providers import (
    DatadogProvider,
    LogProvider,
    OpenTelemetryProvider,
    ServiceProvider,
    TracingProvider,
    ZipkinProvider,
)

Use = Literal["traces", "access logs", "metrics"]
_BY_HTTP = (ZipkinProvider, DatadogProvider)


def provider_problems(db: Database, key: Key, path: str, name: str, use: Use) -> Iterator[Problem]:
    """Yield what is wrong with the provider ``name`` for ``use``, which the object ``key`` names at ``path``."""
    provider = telemetry_provider(db, name)
    if provider is None:
        message = f"the mesh's settings have no extensionProvider {name!r}: there are no {use} by it"
        yield Problem(key, path, Severity.WARNING, "UnknownProvider", message)
        return
    used = _used(provider, use)
    if used is None:
        yield Problem(
            key, path, Severity.WARNING, "UnknownProvider", f"the extensionProvider {name!r} is none of {use}: there are none by it"
        )
    elif isinstance(used, ServiceProvider):
        yield from service_problems(db, key, path, used, use)


def service_problems(db: Database, key: Key, path: str, provider: ServiceProvider, use: Use) -> Iterator[Problem]:
    """Yield what is wrong with the service that ``provider`` for ``use`` is, which the object ``key`` names at ``path``."""
    address = f"{provider.service} with port {provider.port}"
    target = telemetry_target(db, provider, Side.CLIENT)
    if target is None:
        message = f"the provider is {address}, and no such service is known: there are no {use} by it"
        yield Problem(key, path, Severity.WARNING, "UnknownHost", message)
        return
    mesh_service = service(db, target.ref)
    port = mesh_service.port(target.port) if mesh_service else None
    by_http = isinstance(provider, _BY_HTTP) or (isinstance(provider, OpenTelemetryProvider) and provider.http is not None)
    if port and not by_http and not port.protocol.is_http2:
        message = f"port {port.number} of {target.ref.host} is not said to be gRPC by its name or appProtocol: nothing arrives there"
        yield Problem(key, path, Severity.WARNING, "WrongProtocol", message)


def _used(provider: ExtensionProvider, use: Use) -> TracingProvider | LogProvider | object | None:
    match use:
        case "traces":
            return provider.tracer
        case "access logs":
            return provider.access_log
        case "metrics":
            return provider.prometheus
