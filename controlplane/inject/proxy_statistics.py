"""Which statistics the proxy of a pod keeps besides those that each does: by its annotations, or else by the settings of proxies.

https://istio.io/latest/docs/ops/configuration/telemetry/envoy-stats/
"""

from __future__ import annotations

from collections.abc import Iterable

from controlplane.bootstrap.statistics import Statistics
from controlplane.inject import annotations as keys
from controlplane.inject.annotations import Annotation, Annotations
from controlplane.inject.probes import escaped_argument
from controlplane.objects.networking.proxy_config import ProxySettings, ProxyStatsMatcher


def proxy_statistics(annotations: Annotations, config: ProxySettings) -> Statistics:
    """Return what is kept by ``annotations``; a list that they leave out is that of ``config``, as Istio has it."""
    matcher = config.proxy_stats_matcher or ProxyStatsMatcher()

    def texts(annotation: Annotation[tuple[str, ...]], configured: Iterable[str]) -> tuple[str, ...]:
        return tuple(map(escaped_argument, annotations.get(annotation) or configured))

    return Statistics(
        prefixes=texts(keys.STATS_PREFIXES, matcher.inclusion_prefixes),
        suffixes=texts(keys.STATS_SUFFIXES, matcher.inclusion_suffixes),
        regexps=texts(keys.STATS_REGEXPS, matcher.inclusion_regexps),
        buckets=tuple((escaped_argument(prefix), bounds) for prefix, bounds in annotations.get(keys.STATS_BUCKETS) or ()),
    )
