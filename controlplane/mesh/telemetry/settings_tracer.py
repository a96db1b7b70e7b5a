"""Traces as the mesh's settings and those of a proxy say them, where no Telemetry names a provider: ``enableTracing`` and ``tracing``.

https://istio.io/latest/docs/reference/config/istio.mesh.v1alpha1/#Tracing
"""

from __future__ import annotations

from controlplane.incremental.database import Database, query
from controlplane.mesh.telemetry.providers import mesh_spec, service_at
from controlplane.objects.mesh.telemetry_providers import DatadogProvider, TracingProvider, ZipkinProvider
from controlplane.objects.telemetry.proxy_tracing import ProxyTracing


def proxy_tracing(db: Database, own: ProxyTracing | None) -> ProxyTracing:
    """Return what the settings of a proxy say of traces: its ``own``, else the mesh's."""
    return own or mesh_spec(db).default_config.tracing or ProxyTracing()


@query
def tracer_of_settings(db: Database, own: ProxyTracing | None) -> TracingProvider | None:
    """Return where spans go of a proxy that has ``own`` settings of traces, whether or not that is there; ``None``: nowhere."""
    settings = proxy_tracing(db, own)
    if not mesh_spec(db).enable_tracing:
        return None
    if settings.zipkin and settings.zipkin.address:
        place = service_at(db, settings.zipkin.address)
        return ZipkinProvider(service=place.service, port=place.port)
    if settings.datadog and settings.datadog.address:
        place = service_at(db, settings.datadog.address)
        return DatadogProvider(service=place.service, port=place.port)
    return None
