"""The annotations by which Prometheus finds a pod's metrics, past mutual TLS: Envoy's own, or the application's by way of Envoy.

Istio's agent makes one page of both; without one, who wants Envoy's beside the application's scrapes port 15090.
https://istio.io/latest/docs/ops/integrations/prometheus/#option-1-metrics-merging
"""

from __future__ import annotations

from dataclasses import dataclass, field

from controlplane.bootstrap.status_listeners import METRICS_PATH, STATS_PATH, ApplicationProbe, StatusPorts
from controlplane.inject import annotations as keys
from controlplane.inject.annotation_values import BadValue
from controlplane.inject.annotations import Annotations
from controlplane.inject.probes import escaped_argument

_TIMEOUT_S = 10


@dataclass(frozen=True, slots=True)
class ScrapeSettings:
    """The annotations of a pod's metrics, and where the application has its own."""

    annotations: dict[str, str] = field(default_factory=dict)
    application_metrics: ApplicationProbe | None = None
    warnings: tuple[str, ...] = ()


def scrape_settings(annotations: Annotations) -> ScrapeSettings:
    """Return what the ``annotations`` that Prometheus reads become."""
    scrape = annotations.raw.get(keys.SCRAPE.name)
    if annotations.get(keys.MERGE_METRICS) is False or scrape not in {None, "true"}:
        return ScrapeSettings()
    if scrape is None:
        return ScrapeSettings(_annotations_for(STATS_PATH))
    try:
        port, path, scheme = (
            annotations.get(keys.SCRAPE_PORT),
            annotations.get(keys.SCRAPE_PATH) or "/metrics",
            annotations.get(keys.SCRAPE_SCHEME),
        )
    except BadValue as error:
        return ScrapeSettings(warnings=(f"annotations prometheus.io/*: {error}; they stay as they are",))
    if port is None or not path.startswith("/"):
        return ScrapeSettings(
            warnings=("annotations prometheus.io/*: expected a port, and a path that begins with '/'; they stay as they are",)
        )
    probe = ApplicationProbe(
        requested=METRICS_PATH, kind="http", port=port, path=escaped_argument(path), tls=scheme == "https", timeout_s=_TIMEOUT_S
    )
    return ScrapeSettings(_annotations_for(METRICS_PATH) | ({keys.SCRAPE_SCHEME.name: "http"} if scheme else {}), probe)


def _annotations_for(path: str) -> dict[str, str]:
    return {keys.SCRAPE.name: "true", keys.SCRAPE_PORT.name: str(StatusPorts().stats), keys.SCRAPE_PATH.name: path}
