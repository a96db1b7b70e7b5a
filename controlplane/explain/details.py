"""What else is worth knowing of a route or a cluster: time-outs, retries, changes, balancing, and how its endpoints are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.config.core.v3.health_check_pb2 import HealthStatus
from envoy.config.endpoint.v3.endpoint_pb2 import ClusterLoadAssignment
from envoy.config.route.v3.route_components_pb2 import Route
from google.protobuf.duration_pb2 import Duration

_OUTLIERS = "outlier detection"


def route_details(route: Route) -> Mapping[str, str]:
    """Return what is worth knowing of ``route``, by name."""
    action = route.route
    found: dict[str, str] = {}
    if route.HasField("route"):
        found["timeout"] = seconds(action.timeout) if action.timeout.ToNanoseconds() else "none"
        found["retries"] = _retries(route)
        if action.prefix_rewrite or action.HasField("regex_rewrite"):
            found["path"] = f"rewritten to {action.prefix_rewrite or action.regex_rewrite.substitution}"
        if action.host_rewrite_literal:
            found["host"] = f"rewritten to {action.host_rewrite_literal}"
    added = [option.header.key for option in route.request_headers_to_add]
    changed = [*(f"+{name}" for name in added), *(f"-{name}" for name in route.request_headers_to_remove)]
    if changed:
        found["request headers"] = ", ".join(changed)
    return found


def _retries(route: Route) -> str:
    policy = route.route.retry_policy
    if not route.route.HasField("retry_policy"):
        return "none"
    count = policy.num_retries.value if policy.HasField("num_retries") else 1
    per_try = f", {seconds(policy.per_try_timeout)} each" if policy.HasField("per_try_timeout") else ""
    return f"{count} on {policy.retry_on or 'nothing'}{per_try}"


def cluster_details(cluster: Cluster, assignment: ClusterLoadAssignment | None) -> Mapping[str, str]:
    """Return what is worth knowing of ``cluster``, whose endpoints are ``assignment``, by name."""
    found = {"balancing": Cluster.LbPolicy.Name(cluster.lb_policy).lower().replace("_", " ")}
    if cluster.HasField("connect_timeout"):
        found["connect timeout"] = seconds(cluster.connect_timeout)
    thresholds = cluster.circuit_breakers.thresholds
    limits = [
        f"{field.name.replace('_', ' ')} {value.value}"
        for each in thresholds[:1]
        for field, value in each.ListFields()
        if field.name.startswith("max_") and value.value < 2**32 - 1
    ]
    if limits:
        found["limits"] = ", ".join(limits)
    if cluster.HasField("outlier_detection"):
        found[_OUTLIERS] = "on"
    endpoints = [each for locality in (assignment or cluster.load_assignment).endpoints for each in locality.lb_endpoints]
    if endpoints:
        counts = Counter(HealthStatus.Name(each.health_status).lower() for each in endpoints)
        healthy = counts.pop("unknown", 0) + counts.pop("healthy", 0)
        others = "".join(f", {count} {health}" for health, count in sorted(counts.items()))
        found["endpoints"] = f"{healthy} healthy{others}"
    return found


def seconds(duration: Duration) -> str:
    """Return ``duration`` in words."""
    return f"{duration.ToNanoseconds() / 1e9:g} s"
