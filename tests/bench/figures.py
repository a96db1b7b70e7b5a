"""What figures mean: their words, their units, what they are to reach, and how they grow with the mesh."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tests.bench.measure import Figures


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the table: a figure at 1,000 services (or at ``services``), Istio's, and what is to be reached.

    ``most`` is the limit on such a machine, in the figure's unit, or ``ratio`` times what the bare server takes in the same run, whichever
    is more: cores are shared. ``exponent`` limits how the figure grows from the smallest mesh to the largest: 0 is flat, 1 linear.
    """

    name: str
    text: str
    unit: str
    istiod: str
    target: str
    most: float
    ratio: float | None = None
    exponent: float | None = None
    services: int = 1000
    proxies: int = 500

    def limit(self, figures: Figures) -> float:
        """Return what ``figures`` have to keep to."""
        bare = figures.get(f"bare_{self.name}")
        return max(self.most, self.ratio * bare) if self.ratio is not None and bare is not None else self.most


# Every figure in words, with its unit, in the order of the tables.
LABELS: Mapping[str, tuple[str, str]] = {
    "ready_s": ("ready after its start", "s"),
    "connect_s": ("all connected and configured", "s"),
    "bare_connect_s": ("the same, bare server", "s"),
    "connect_first_s": ("the first configured", "s"),
    "configuration_mb": ("sent to each until configured", "MB"),
    "memory_a_proxy_mb": ("memory a sidecar", "MB"),
    "endpoint_first_ms": ("endpoint change, first", "ms"),
    "endpoint_last_ms": ("endpoint change, last", "ms"),
    "endpoint_p99_ms": ("endpoint change, last, 99th percentile", "ms"),
    "bare_endpoint_last_ms": ("endpoint change, last, bare server", "ms"),
    "route_first_ms": ("VirtualService change, first", "ms"),
    "route_last_ms": ("VirtualService change, last", "ms"),
    "bare_route_last_ms": ("VirtualService change, last, bare server", "ms"),
    "route_sent_mb": ("VirtualService change, sent to all", "MB"),
    "new_service_last_ms": ("new Service, last has its endpoints", "ms"),
    "new_service_sent_mb": ("new Service, sent to all", "MB"),
    "deleted_service_last_ms": ("deleted Service, last knows", "ms"),
    "database_endpoint_ms": ("endpoint change, recomputed", "ms"),
    "database_route_ms": ("VirtualService change, recomputed", "ms"),
    "database_new_service_ms": ("new Service, recomputed", "ms"),
    "database_deleted_service_ms": ("deleted Service, recomputed", "ms"),
    "database_new_route_ms": ("new VirtualService, recomputed", "ms"),
    "database_deleted_route_ms": ("deleted VirtualService, recomputed", "ms"),
    "database_new_namespace_ms": ("Service in a new namespace, recomputed", "ms"),
    "database_endpoint_runs": ("endpoint change, queries that run", ""),
    "database_route_runs": ("VirtualService change, queries that run", ""),
    "database_new_service_runs": ("new Service, queries that run", ""),
    "database_deleted_service_runs": ("deleted Service, queries that run", ""),
    "beside_200_ms": ("endpoint change beside 200 others a second, last", "ms"),
    "beside_200_slowest_ms": ("the slowest of them", "ms"),
    "beside_200_made": ("others that were made a second", ""),
    "beside_1000_ms": ("endpoint change beside 1,000 others a second, last", "ms"),
    "beside_1000_slowest_ms": ("the slowest of them", "ms"),
    "beside_1000_made": ("others that were made a second", ""),
    "reconnect_s": ("all come again with what they have", "s"),
    "reconnect_resources": ("resources that are sent then", ""),
    "reconnect_resource_bytes": ("bytes of resources that are sent then", ""),
    "slow_others_ms": ("endpoint change beside 200 others a second, one sidecar in twenty reads nothing: last of the others", "ms"),
    "slow_memory_mb": ("memory that this takes", "MB"),
    "slow_caught_up_ms": ("these sidecars have the newest state after they read again", "ms"),
    "envoys": ("real Envoys beside them", ""),
    "envoys_configured_s": ("every Envoy has every cluster, after they were started at once", "s"),
    "envoys_endpoint_ms": ("endpoint change, accepted by the last Envoy", "ms"),
    "envoy_memory_mb": ("memory of an Envoy", "MB"),
    "rollout_s": ("rolling restart of a Deployment of 100 pods with their sidecars, 25 at a time", "s"),
    "rollout_last_change_ms": ("the last endpoint of 25, last", "ms"),
    "rollout_mb": ("sent to all in the restart", "MB"),
    "memory_left": ("memory after all have left, in parts of that before anybody came", ""),
    "memory_left_again": ("memory after all came once more and left, in parts of that before", ""),
    "api_server_ms": ("the API server's answer to a change", "ms"),
}

FLAT = math.log(1.2) / math.log(10)  # a fifth more over ten times the services
LINEAR = 1.1  # a resource may cost a quarter more where there are ten times as many

ROWS = (
    Row("connect_s", "1,000 services, 500 proxies connect at once, all configured", "s", "17.2 s", "≤ 4 s, ≤ 1.6 × bare", 4.0, 1.6),
    Row(
        "connect_s",
        "5,000 services, 100 proxies connect",
        "s",
        "18.0 s",
        "≤ 4 s, linear to 10,000",
        4.0,
        exponent=LINEAR,
        services=5000,
        proxies=100,
    ),
    Row("endpoint_last_ms", "endpoint change, last of 500", "ms", "185 ms", "≤ 40 ms, ≤ 1.3 × bare", 40.0, 1.3),
    Row("route_last_ms", "VirtualService change, last of 500", "ms", "2,274 ms", "≤ 45 ms, ≤ 1.3 × bare", 45.0, 1.3),
    Row("route_sent_mb", "VirtualService change, sent to all 500", "MB", "279 MB", "0.43 MB", 0.5),
    Row("route_first_ms", "VirtualService change, first of 100", "ms", "157 → 964 ms", "flat ± 20 %", 15.0, exponent=FLAT, proxies=100),
    Row("endpoint_first_ms", "endpoint change, first of 100", "ms", "111 → 125 ms", "flat", 15.0, exponent=FLAT, proxies=100),
    Row("database_new_service_ms", "a new Service, recomputed", "ms", "–", "≤ 2 ms, flat", 2.0, exponent=FLAT, proxies=100),
    Row("database_deleted_service_ms", "a deleted Service, recomputed", "ms", "–", "≤ 2 ms, flat", 2.0, exponent=FLAT, proxies=100),
    Row("database_new_route_ms", "a new VirtualService, recomputed", "ms", "–", "≤ 1 ms, flat", 1.0, exponent=FLAT, proxies=100),
    Row("memory_a_proxy_mb", "memory a proxy (500 on 1,000 services)", "MB", "0.62 MB", "≤ 0.12 MB", 0.12),
    Row("beside_200_ms", "200 endpoint changes a second beside it: a further one, last of 500", "ms", "–", "≤ 100 ms", 100.0),
    Row("beside_1000_ms", "1,000 a second beside it", "ms", "–", "≤ 300 ms", 300.0),
    Row("memory_left_again", "memory after all 500 came and left once more, in parts of that before", "", "–", "≤ 1.10", 1.1),
    Row("ready_s", "ready from files at 1,000 services", "s", "–", "≤ 1.5 s", 1.5, exponent=LINEAR, proxies=100),
    Row("ready_s", "ready from files at 5,000 services", "s", "–", "≤ 5 s", 5.0, services=5000, proxies=100),
)


def exponent(points: Sequence[tuple[float, float]]) -> float | None:
    """Return by which power of the first of each pair the second grows: the slope of the least squares in logarithms."""
    known = [(math.log(x), math.log(y)) for x, y in points if x > 0 and y > 0]
    if len(known) < 2:
        return None
    middle_x = sum(x for x, _ in known) / len(known)
    middle_y = sum(y for _, y in known) / len(known)
    spread = sum((x - middle_x) ** 2 for x, _ in known)
    return sum((x - middle_x) * (y - middle_y) for x, y in known) / spread if spread else None


def told(figure: float, unit: str) -> str:
    """Return ``figure`` with its ``unit``, with as many digits as it is worth."""
    digits = 0 if abs(figure) >= 100 or figure == int(figure) else 1 if abs(figure) >= 10 else 2
    return f"{figure:,.{digits}f} {unit}".strip()
