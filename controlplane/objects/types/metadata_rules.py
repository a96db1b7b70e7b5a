"""Labels and annotations that mean something to Istio and nothing here, or nothing to anybody: whoever has set one is told.

https://istio.io/latest/docs/reference/config/labels/, https://istio.io/latest/docs/reference/config/annotations/
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import NamedTuple

from controlplane.objects.types import rules
from controlplane.objects.types.findings import Finding
from controlplane.objects.types.metadata import KubernetesObject

ANY_ENDPOINT = "requests go to endpoints wherever they are"
_ONE_NETWORK = "all of the mesh is taken for one network"
_NO_SESSIONS = "requests of one session may go to several endpoints"
_NO_WAYPOINTS = "there are no waypoints: sidecars and gateways alone carry traffic"
_NO_ACCOUNTS = "only the service accounts of its endpoints are accepted as the server"


class _Ineffective(NamedTuple):
    """A label or annotation, where it means something, and what comes of that; ``harmless`` values ask for what is so anyway."""

    name: str
    kinds: tuple[str, ...]
    consequence: str
    harmless: tuple[str, ...] = ()


_WORKLOADS = ("Pod", "WorkloadEntry", "WorkloadGroup")
_SERVICES = ("Service", "ServiceEntry")
_LABELS = (
    _Ineffective("topology.istio.io/network", ("Namespace", "Service", *_WORKLOADS), _ONE_NETWORK),
    _Ineffective("istio.io/persistent-session", ("Service",), _NO_SESSIONS),
    _Ineffective("istio.io/persistent-session-header", ("Service",), _NO_SESSIONS),
    _Ineffective("istio.io/dataplane-mode", ("Namespace", "Pod"), _NO_WAYPOINTS, harmless=("none",)),
    _Ineffective("istio.io/use-waypoint", ("Namespace", *_SERVICES, *_WORKLOADS), _NO_WAYPOINTS, harmless=("none",)),
    _Ineffective("istio.io/ingress-use-waypoint", ("Namespace", *_SERVICES), _NO_WAYPOINTS, harmless=("false",)),
    _Ineffective("networking.istio.io/enable-autoallocate-ip", ("ServiceEntry",), "it gets no address by itself", harmless=("false",)),
)
_ANNOTATIONS = (
    _Ineffective("networking.istio.io/traffic-distribution", ("Namespace", *_SERVICES), ANY_ENDPOINT, harmless=("Any",)),
    _Ineffective("traffic.istio.io/nodeSelector", ("Service",), _ONE_NETWORK),
    _Ineffective("alpha.istio.io/kubernetes-serviceaccounts", ("Service",), _NO_ACCOUNTS),
    _Ineffective("alpha.istio.io/canonical-serviceaccounts", ("Service",), _NO_ACCOUNTS),
)

_ISTIO = "istio.io"
_SIMILAR = 0.8
_SHOWN = 100
_ANY: tuple[str, ...] = ()  # of any kind
_OF_PODS: Mapping[str, tuple[str, ...]] = {
    "ambient.": ("bypass-inbound-capture", "dns-capture", "redirection"),
    "inject.": ("templates",),
    "": ("reroute-virtual-interfaces", "rev"),
    "prometheus.": ("merge-metrics",),
    "proxy.": ("config", "overrides"),
    "readiness.status.sidecar.": ("applicationPorts", "failureThreshold", "initialDelaySeconds", "periodSeconds"),
    "sidecar.": (
        *("agentLogLevel", "bootstrapOverride", "componentLogLevel", "controlPlaneAuthPolicy", "discoveryAddress", "enableCoreDump"),
        *("extraStatTags", "inject", "interceptionMode", "logLevel", "nativeSidecar", "proxyCPU", "proxyCPULimit", "proxyImage"),
        *("proxyImageType", "proxyMemory", "proxyMemoryLimit", "rewriteAppHTTPProbers", "statsCompression", "statsHistogramBuckets"),
        *("statsInclusionPrefixes", "statsInclusionRegexps", "statsInclusionSuffixes", "status", "userVolume", "userVolumeMount"),
    ),
    "status.sidecar.": ("port",),
    "traffic.sidecar.": (
        *("excludeInboundPorts", "excludeInterfaces", "excludeOutboundIPRanges", "excludeOutboundPorts", "includeInboundPorts"),
        *("includeOutboundIPRanges", "includeOutboundPorts", "kubevirtInterfaces"),
    ),
}
_OTHERS: Mapping[str, tuple[str, ...]] = {
    "alpha.istio.io/canonical-serviceaccounts": ("Service",),
    "alpha.istio.io/kubernetes-serviceaccounts": ("Service",),
    "galley.istio.io/analyze-suppress": _ANY,
    "install.operator.istio.io/chart-owner": _ANY,
    "install.operator.istio.io/owner-generation": _ANY,
    "install.operator.istio.io/version": _ANY,
    "istio.io/autoRegistrationGroup": ("WorkloadEntry",),
    "istio.io/connectedAt": ("WorkloadEntry",),
    "istio.io/disconnectedAt": ("WorkloadEntry",),
    "istio.io/dry-run": ("AuthorizationPolicy",),
    "istio.io/workloadController": ("WorkloadEntry",),
    "networking.istio.io/exportTo": ("Service",),
    "networking.istio.io/traffic-distribution": ("Namespace", *_SERVICES),
    "proxy.istio.io/health-checks-enabled": ("WorkloadEntry",),
    "topology.istio.io/controlPlaneClusters": ("Namespace",),
    "traffic.istio.io/nodeSelector": ("Service",),
}
KNOWN_ANNOTATIONS: Mapping[str, tuple[str, ...]] = {
    **{f"{prefix}{_ISTIO}/{name}": ("Pod",) for prefix, names in _OF_PODS.items() for name in names},
    **_OTHERS,
}

POD_ANNOTATIONS = frozenset(name for name, kinds in KNOWN_ANNOTATIONS.items() if kinds == ("Pod",))


def ineffective_metadata(item: KubernetesObject) -> Iterator[Finding]:
    """Yield the labels and annotations of ``item`` that would mean something to Istio, or look as if they would."""
    yield from _ineffective("metadata.labels", item.kind, item.meta.labels, _LABELS)
    yield from _ineffective("metadata.annotations", item.kind, item.meta.annotations, _ANNOTATIONS)
    yield from _unknown_annotations("metadata.annotations", item.kind, item.meta.annotations)


def _ineffective(path: str, kind: str, written: Mapping[str, str], table: tuple[_Ineffective, ...]) -> Iterator[Finding]:
    for name, kinds, consequence, harmless in table:
        if kind in kinds and written.get(name, "") not in ("", *harmless):
            yield rules.warning(f"{path}.{name}", "NotTranslated", f"has no effect: {consequence}")


def _unknown_annotations(path: str, kind: str, written: Mapping[str, str]) -> Iterator[Finding]:
    """Yield, as warnings, which of the annotations ``written`` on an object of ``kind`` nobody knows, or nobody reads there."""
    for name in written:
        domain = name.partition("/")[0]
        if domain != _ISTIO and not domain.endswith(f".{_ISTIO}"):
            continue
        if (kinds := KNOWN_ANNOTATIONS.get(name)) is None:
            similar = get_close_matches(name[:_SHOWN], KNOWN_ANNOTATIONS, 1, _SIMILAR)
            meant = f": {similar[0]}?" if similar else ""
            yield rules.warning(f"{path}.{name[:_SHOWN]}", "UnknownAnnotation", f"Istio knows no such annotation, it has no effect{meant}")
        elif kinds and kind not in kinds:
            message = f"has no effect on a {kind}: it is for a {' or a '.join(kinds)}"
            yield rules.warning(f"{path}.{name}", "MisplacedAnnotation", message)
