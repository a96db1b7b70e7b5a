"""What holds for every connection and request of a proxy: the mesh's settings, its own, and what it tells."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from controlplane.incremental.database import Database, query
from controlplane.ir.listeners import ConnectionLimits, ConnectionSettings
from controlplane.ir.telemetry.listeners import ListenerTelemetry, Side
from controlplane.mesh.destinations.clusters import ClusterTarget
from controlplane.mesh.registry.mesh_settings import default_limits, mesh_settings, own_limits
from controlplane.mesh.telemetry.access_logs import access_logs, log_targets
from controlplane.mesh.telemetry.metrics import counted_by
from controlplane.mesh.telemetry.providers import mesh_spec
from controlplane.mesh.telemetry.selection import TelemetryScope, telemetry_scope
from controlplane.mesh.telemetry.tracing import trace_targets, tracing
from controlplane.model.mesh import PathNormalization
from controlplane.model.proxies import Proxy
from controlplane.model.services import Labels


class ConnectionScope(NamedTuple):
    """What the handling of connections by a proxy depends on besides the mesh's settings, so that equal proxies share listeners."""

    limits: ConnectionLimits = ConnectionLimits()  # its own, before the mesh's
    telemetry: TelemetryScope = TelemetryScope()


def connection_scope(db: Database, proxy: Proxy, labels: Labels) -> ConnectionScope:
    """Return what the handling of connections by ``proxy``, whose labels are ``labels``, depends on."""
    return ConnectionScope(own_limits(db, proxy), telemetry_scope(db, proxy, labels))


@query
def inbound_connection_settings(db: Database, scope: ConnectionScope) -> ConnectionSettings:
    """Return what holds for connections to workloads."""
    return _settings(db, scope, Side.SERVER)


@query
def gateway_connection_settings(db: Database, scope: ConnectionScope) -> ConnectionSettings:
    """Return what holds for connections through gateways."""
    return _settings(db, scope, Side.CLIENT)


@query
def outbound_connection_settings(db: Database, scope: ConnectionScope) -> ConnectionSettings:
    """Return what holds for connections from workloads: their paths are normalised further where they arrive."""
    return replace(_settings(db, scope, Side.CLIENT), paths=PathNormalization.BASE)


def telemetry_targets(db: Database, scope: TelemetryScope, side: Side) -> frozenset[ClusterTarget]:
    """Return the services that a proxy of ``scope`` tells something on ``side``."""
    return frozenset((*log_targets(db, scope.objects, side), *trace_targets(db, scope, side)))


def _settings(db: Database, scope: ConnectionScope, side: Side) -> ConnectionSettings:
    settings = mesh_settings(db)
    return ConnectionSettings(
        paths=settings.paths,
        limits=scope.limits.over(default_limits(db)),
        detection_timeout_ms=settings.detection_timeout_ms,
        telemetry=_telemetry(db, scope.telemetry, side),
    )


@query
def _telemetry(db: Database, scope: TelemetryScope, side: Side) -> ListenerTelemetry:
    return ListenerTelemetry(
        access_logs=access_logs(db, scope, side),
        logs_refused=not mesh_spec(db).disable_envoy_listener_log,
        tracing=tracing(db, scope, side),
        metrics=counted_by(db, scope, side) if scope.counts else None,
    )
