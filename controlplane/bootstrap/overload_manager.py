"""What an Envoy does before it has taken too much: it refuses what is new, so that what it has begun ends well.

https://www.envoyproxy.io/docs/envoy/v1.40.0/configuration/operations/overload_manager/overload_manager
"""

from __future__ import annotations

from dataclasses import dataclass

_TYPES = "type.googleapis.com/envoy.extensions.resource_monitors"
HEAP = "envoy.resource_monitors.fixed_heap"
CONNECTIONS = "envoy.resource_monitors.global_downstream_max_connections"

# How full the heap is when each is done, mildest first.
_WHEN_HEAP = (
    ("envoy.overload_actions.shrink_heap", 0.85),
    ("envoy.overload_actions.disable_http_keepalive", 0.92),
    ("envoy.overload_actions.stop_accepting_requests", 0.95),
    ("envoy.overload_actions.stop_accepting_connections", 0.98),
)


@dataclass(frozen=True, slots=True)
class OverloadLimits:
    """What an Envoy must not exceed."""

    heap_bytes: int | None = None  # None: whatever the machine has
    connections: int = 50_000  # from clients; those of the probes do not count
    refresh_interval_s: float = 0.25  # how often the heap is measured


def overload_manager(limits: OverloadLimits) -> dict[str, object]:
    """Return how an overload manager keeps to ``limits``."""
    monitors = [_monitor(CONNECTIONS, "DownstreamConnectionsConfig", {"max_active_downstream_connections": limits.connections})]
    if limits.heap_bytes is None:
        return {"resource_monitors": monitors}
    monitors.append(_monitor(HEAP, "FixedHeapConfig", {"max_heap_size_bytes": limits.heap_bytes}))
    actions = [{"name": name, "triggers": [{"name": HEAP, "threshold": {"value": share}}]} for name, share in _WHEN_HEAP]
    return {"refresh_interval": f"{limits.refresh_interval_s:g}s", "resource_monitors": monitors, "actions": actions}


def _monitor(name: str, message: str, config: dict[str, object]) -> dict[str, object]:
    package = {HEAP: "fixed_heap", CONNECTIONS: "downstream_connections"}[name]
    return {"name": name, "typed_config": {"@type": f"{_TYPES}.{package}.v3.{message}", **config}}
