"""The metrics of requests and connections that a proxy counts, by the names of Istio's.

https://istio.io/latest/docs/reference/config/metrics/
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from controlplane.model.telemetry.workloads import WorkloadNames


class StandardMetric(StrEnum):
    """A metric by the name that overrides have for it, of those that Envoy can count."""

    REQUEST_COUNT = "REQUEST_COUNT"
    REQUEST_DURATION = "REQUEST_DURATION"
    REQUEST_SIZE = "REQUEST_SIZE"
    RESPONSE_SIZE = "RESPONSE_SIZE"
    TCP_OPENED_CONNECTIONS = "TCP_OPENED_CONNECTIONS"
    TCP_CLOSED_CONNECTIONS = "TCP_CLOSED_CONNECTIONS"
    TCP_SENT_BYTES = "TCP_SENT_BYTES"
    TCP_RECEIVED_BYTES = "TCP_RECEIVED_BYTES"


@dataclass(frozen=True, slots=True)
class CountedMetric:
    """A metric, and ``labels`` in the place of those that it has anyway: formats of access logs, or ``None`` for one that it has not."""

    metric: StandardMetric
    labels: tuple[tuple[str, str | None], ...] = ()  # sorted by name


@dataclass(frozen=True, slots=True)
class CountedBy:
    """What a proxy counts of all that its listeners take, and as whom.

    ``plain_names``: they are called as Istio calls them, by way of a WebAssembly module; otherwise ``envoy_wasmcustom_`` stands before it.
    """

    names: WorkloadNames
    metrics: tuple[CountedMetric, ...]
    plain_names: bool = True


@dataclass(frozen=True, slots=True)
class ServiceNames:
    """The service that requests are for, as far as it is known."""

    host: str
    name: str
    namespace: str
