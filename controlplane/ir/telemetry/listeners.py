"""What is told of all that a listener takes."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto

from controlplane.ir.telemetry.access_logs import AccessLog
from controlplane.ir.telemetry.metrics import CountedBy
from controlplane.ir.telemetry.traces import RequestTracing


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenerTelemetry:
    """What is told of all that listeners take. ``logs_refused``: also of connections that no filter chain is for."""

    access_logs: tuple[AccessLog, ...] = ()
    logs_refused: bool = True
    tracing: RequestTracing | None = None
    metrics: CountedBy | None = None  # None: nothing is counted but what Envoy does by itself


SILENT = ListenerTelemetry()


class Side(Enum):
    """On which side of requests a listener stands."""

    CLIENT = auto()  # requests of the workload, and those through gateways
    SERVER = auto()  # requests to the workload
