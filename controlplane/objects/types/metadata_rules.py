"""Labels and annotations that mean something to Istio and nothing here: whoever has set one is told.

https://istio.io/latest/docs/reference/config/labels/, https://istio.io/latest/docs/reference/config/annotations/
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
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


def ineffective_metadata(item: KubernetesObject) -> Iterator[Finding]:
    """Yield the labels and annotations of ``item`` that would mean something to Istio."""
    yield from _ineffective("metadata.labels", item.kind, item.meta.labels, _LABELS)
    yield from _ineffective("metadata.annotations", item.kind, item.meta.annotations, _ANNOTATIONS)


def _ineffective(path: str, kind: str, written: Mapping[str, str], table: tuple[_Ineffective, ...]) -> Iterator[Finding]:
    for name, kinds, consequence, harmless in table:
        if kind in kinds and written.get(name, "") not in ("", *harmless):
            yield rules.warning(f"{path}.{name}", "NotTranslated", f"has no effect: {consequence}")
