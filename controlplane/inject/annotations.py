"""The annotations of a pod that injection reads: Istio's, in one table. docs/injection.md is compared with it by a test.

https://istio.io/latest/docs/reference/config/annotations/
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from controlplane.inject import annotation_values
from controlplane.inject.annotation_values import BadValue
from controlplane.model.proxies import MAX_REQUEST_HEADERS_KB
from controlplane.objects.networking.proxy_config import MOST_HEADERS_KB
from controlplane.objects.types.scalars import MAX_PORT

T_co = TypeVar("T_co", covariant=True)
T = TypeVar("T")

_SIDECAR = "sidecar.istio.io/"
_TRAFFIC = "traffic.sidecar.istio.io/"
_READINESS = "readiness.status.sidecar.istio.io/"
_ISTIO = "istio.io"
_SECONDS = annotation_values.integer_between(0, 86_400)


@dataclass(frozen=True, slots=True)
class Annotation(Generic[T_co]):
    """One annotation: its name, and how its text is read."""

    name: str
    read: Callable[[str], T_co]


PROXY_IMAGE = Annotation(_SIDECAR + "proxyImage", annotation_values.image)
PROXY_CPU = Annotation(_SIDECAR + "proxyCPU", annotation_values.quantity)
PROXY_CPU_LIMIT = Annotation(_SIDECAR + "proxyCPULimit", annotation_values.quantity_between("1m", "1k"))
PROXY_MEMORY = Annotation(_SIDECAR + "proxyMemory", annotation_values.quantity)
PROXY_MEMORY_LIMIT = Annotation(_SIDECAR + "proxyMemoryLimit", annotation_values.quantity_between("16Mi", "1024Ti"))
LOG_LEVEL = Annotation(_SIDECAR + "logLevel", annotation_values.log_level)
COMPONENT_LOG_LEVEL = Annotation(_SIDECAR + "componentLogLevel", annotation_values.component_log_levels)
STATS_PREFIXES = Annotation(_SIDECAR + "statsInclusionPrefixes", annotation_values.parts)
STATS_SUFFIXES = Annotation(_SIDECAR + "statsInclusionSuffixes", annotation_values.parts)
STATS_REGEXPS = Annotation(_SIDECAR + "statsInclusionRegexps", annotation_values.regular_expressions)
STATS_BUCKETS = Annotation(_SIDECAR + "statsHistogramBuckets", annotation_values.histogram_buckets)
INJECT = Annotation(_SIDECAR + "inject", annotation_values.strict_boolean)
INTERCEPTION_MODE = Annotation(_SIDECAR + "interceptionMode", annotation_values.one_of("REDIRECT", "TPROXY", "NONE"))
REWRITE_PROBES = Annotation(_SIDECAR + "rewriteAppHTTPProbers", annotation_values.boolean)
NATIVE_SIDECAR = Annotation(_SIDECAR + "nativeSidecar", annotation_values.boolean)
USER_VOLUME = Annotation(_SIDECAR + "userVolume", annotation_values.volumes)
USER_VOLUME_MOUNT = Annotation(_SIDECAR + "userVolumeMount", annotation_values.volume_mounts)
STATUS = Annotation(_SIDECAR + "status", annotation_values.one_line)
INCLUDE_INBOUND_PORTS = Annotation(_TRAFFIC + "includeInboundPorts", annotation_values.port_list_or_all)
EXCLUDE_INBOUND_PORTS = Annotation(_TRAFFIC + "excludeInboundPorts", annotation_values.port_list)
INCLUDE_OUTBOUND_RANGES = Annotation(_TRAFFIC + "includeOutboundIPRanges", annotation_values.ip_ranges_or_all)
EXCLUDE_OUTBOUND_RANGES = Annotation(_TRAFFIC + "excludeOutboundIPRanges", annotation_values.ip_ranges)
INCLUDE_OUTBOUND_PORTS = Annotation(_TRAFFIC + "includeOutboundPorts", annotation_values.port_list)
EXCLUDE_OUTBOUND_PORTS = Annotation(_TRAFFIC + "excludeOutboundPorts", annotation_values.port_list)
REROUTED_INTERFACES = Annotation("istio.io/reroute-virtual-interfaces", annotation_values.interfaces)  # the later name of the next one
KUBEVIRT_INTERFACES = Annotation(_TRAFFIC + "kubevirtInterfaces", annotation_values.interfaces)
EXCLUDE_INTERFACES = Annotation(_TRAFFIC + "excludeInterfaces", annotation_values.interfaces)
READINESS_DELAY = Annotation(_READINESS + "initialDelaySeconds", _SECONDS)
READINESS_PERIOD = Annotation(_READINESS + "periodSeconds", annotation_values.integer_between(1, 86_400))
READINESS_FAILURES = Annotation(_READINESS + "failureThreshold", annotation_values.integer_between(1, 10_000))
STATUS_PORT = Annotation("status.sidecar.istio.io/port", annotation_values.integer_between(0, MAX_PORT))
TEMPLATES = Annotation("inject.istio.io/templates", annotation_values.one_of("sidecar", "gateway"))
PROXY_CONFIG = Annotation("proxy.istio.io/config", annotation_values.proxy_settings)
MAX_HEADERS = Annotation(MAX_REQUEST_HEADERS_KB, annotation_values.integer_between(1, MOST_HEADERS_KB))
MERGE_METRICS = Annotation("prometheus.istio.io/merge-metrics", annotation_values.boolean)
SCRAPE = Annotation("prometheus.io/scrape", annotation_values.one_line)
SCRAPE_PORT = Annotation("prometheus.io/port", annotation_values.integer_between(1, MAX_PORT))
SCRAPE_PATH = Annotation("prometheus.io/path", annotation_values.one_line)
SCRAPE_SCHEME = Annotation("prometheus.io/scheme", annotation_values.one_of("http", "https"))

# What is read; docs/injection.md says what each does.
INJECTION_ANNOTATIONS: tuple[Annotation[object], ...] = (
    INJECT,
    TEMPLATES,
    NATIVE_SIDECAR,
    PROXY_IMAGE,
    PROXY_CPU,
    PROXY_CPU_LIMIT,
    PROXY_MEMORY,
    PROXY_MEMORY_LIMIT,
    LOG_LEVEL,
    COMPONENT_LOG_LEVEL,
    STATS_PREFIXES,
    STATS_SUFFIXES,
    STATS_REGEXPS,
    STATS_BUCKETS,
    PROXY_CONFIG,
    MAX_HEADERS,
    INTERCEPTION_MODE,
    INCLUDE_INBOUND_PORTS,
    EXCLUDE_INBOUND_PORTS,
    INCLUDE_OUTBOUND_RANGES,
    EXCLUDE_OUTBOUND_RANGES,
    INCLUDE_OUTBOUND_PORTS,
    EXCLUDE_OUTBOUND_PORTS,
    REROUTED_INTERFACES,
    KUBEVIRT_INTERFACES,
    EXCLUDE_INTERFACES,
    REWRITE_PROBES,
    STATUS_PORT,
    READINESS_DELAY,
    READINESS_PERIOD,
    READINESS_FAILURES,
    USER_VOLUME,
    USER_VOLUME_MOUNT,
    MERGE_METRICS,
    STATUS,
)
# Prometheus's own: whoever writes them may not think of a mesh, so that a pod is never refused for them.
PROMETHEUS_ANNOTATIONS: tuple[Annotation[object], ...] = (SCRAPE, SCRAPE_PORT, SCRAPE_PATH, SCRAPE_SCHEME)
_BY_NAME = {annotation.name: annotation for annotation in INJECTION_ANNOTATIONS}


class Annotations:
    """The annotations of one pod."""

    def __init__(self, raw: Mapping[str, str]) -> None:
        """Read the texts ``raw``, by name."""
        self.raw = raw

    def get(self, annotation: Annotation[T]) -> T | None:
        """Return what ``annotation`` says, None where it is not there; raises BadValue."""
        text = self.raw.get(annotation.name)
        return None if text is None else annotation.read(text)

    def problems(self) -> Iterator[str]:
        """Yield what cannot be read, each with its name and what was expected."""
        for name in sorted(self.raw.keys() & _BY_NAME.keys()):
            try:
                _BY_NAME[name].read(self.raw[name])
            except BadValue as error:
                yield f"annotation {name}: {error}, found {self.raw[name][:80]!r}"

    def without_effect(self) -> Iterator[str]:
        """Yield what is said of injection and has no effect."""
        for name in sorted(self.raw):
            domain = name.partition("/")[0]
            if (domain == _ISTIO or domain.endswith(f".{_ISTIO}")) and name not in _BY_NAME:
                yield f"annotation {name[:100]} has no effect"
        config = self.get(PROXY_CONFIG)
        for field_name in config.without_effect() if config else ():
            yield f"annotation {PROXY_CONFIG.name}: {field_name[:80]} has no effect"
