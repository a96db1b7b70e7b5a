"""Which statistics an Envoy keeps: those of itself, of the requests that it has carried, and what its operator adds.

A cluster that has carried nothing costs Envoy up to 140 statistics of value 0. docs/decisions/statistics.md has what they weigh.
https://istio.io/latest/docs/ops/configuration/telemetry/envoy-stats/
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from controlplane.untyped import Json

# Istio's four; what WebAssembly modules count; whether the control plane is heard, and the limits are kept to; and how an application is:
# Envoy answers probes by these (``status_listeners.py``), and would read 0 where they are left out.
_PREFIXES = (
    *("cluster_manager.", "listener_manager.", "server.", "cluster.xds-grpc.", "wasmcustom", "control_plane.", "overload."),
    "cluster.app-health|",
)
# And what drills read: how often instances were ejected, and what a fault has done.
_SUFFIXES = (
    *("rbac.allowed", "rbac.denied", "shadow_allowed", "shadow_denied", "outlier_detection.ejections_active"),
    *("outlier_detection.ejections_enforced_total", "fault.aborts_injected", "fault.delays_injected"),
)
# Of a cluster these are made when it is used first; of a listener they are few.
_PARTS = (".upstream_rq_", ".upstream_cx_", ".downstream_rq_", ".http_local_rate_limit.", ".ratelimit.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Statistics:
    """Which statistics are kept besides those that always are, and how finely durations and sizes are told apart."""

    prefixes: tuple[str, ...] = ()
    suffixes: tuple[str, ...] = ()
    regexps: tuple[str, ...] = ()  # of RE2, for the whole name
    buckets: tuple[tuple[str, tuple[float, ...]], ...] = ()  # by prefix of a histogram's name: the upper bounds, growing
    idle_s: int = 900  # after which Istio's metrics of what does not come any more are forgotten; a multiple of 5 s, Envoy's flush interval


def statistics(kept: Statistics) -> Json:
    """Return the fields of a bootstrap by which Envoy has what is ``kept``, and of clusters only what has been used."""
    patterns = [
        *_patterns("prefix", (*_PREFIXES, *kept.prefixes)),
        *_patterns("suffix", (*_SUFFIXES, *kept.suffixes)),
        *_patterns("contains", _PARTS),
        *({"safe_regex": {"regex": regexp}} for regexp in kept.regexps),
    ]
    buckets = [{"match": {"prefix": prefix}, "buckets": list(bounds)} for prefix, bounds in kept.buckets]
    config: Json = {"stats_matcher": {"inclusion_list": {"patterns": patterns}}}
    return {
        "stats_config": {**config, **({"histogram_bucket_settings": buckets} if buckets else {})},
        "deferred_stat_options": {"enable_deferred_creation_stats": True},
        "stats_eviction_interval": f"{kept.idle_s}s",
    }


def _patterns(kind: str, texts: Iterable[str]) -> list[Json]:
    return [{kind: text} for text in texts]
