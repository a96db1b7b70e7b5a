"""The annotations by which Prometheus finds a pod's metrics, led past mutual TLS: Envoy's own, or the application's by way of Envoy.

Istio's agent makes one page of both; without one, who wants Envoy's beside the application's scrapes port 15090.
https://istio.io/latest/docs/ops/integrations/prometheus/#option-1-metrics-merging
"""

from __future__ import annotations

from dataclasses import dataclass, field

from controlplane.bootstrap.status_listeners import METRICS_PATH, STATS_PATH, ApplicationProbe, StatusPorts
from controlplane.inject import annotations as say
from controlplane.inject.annotation_values import BadValue
from controlplane.inject.annotations import Annotations
from controlplane.inject.probes import escaped_argument

_TIMEOUT_S = 10


@dataclass(frozen=True, slots=True)
class ScrapeSettings:
    """What is to be said of a pod's metrics, and where the application has its own."""

    annotations: dict[str, str] = field(default_factory=dict)
    application: ApplicationProbe | None = None
    warnings: tuple[str, ...] = ()


def scrape_settings(said: Annotations) -> ScrapeSettings:
    """Return what becomes of what is ``said`` of metrics."""
    wanted = said.said.get(say.SCRAPE.name)
    if said.get(say.MERGE_METRICS) is False or wanted not in {None, "true"}:
        return ScrapeSettings()
    if wanted is None:
        return ScrapeSettings(_at(STATS_PATH))
    try:
        port, path, scheme = said.get(say.SCRAPE_PORT), said.get(say.SCRAPE_PATH) or "/metrics", said.get(say.SCRAPE_SCHEME)
    except BadValue as error:
        return ScrapeSettings(warnings=(f"annotations prometheus.io/*: {error}; they stay as they are",))
    if port is None or not path.startswith("/"):
        return ScrapeSettings(
            warnings=("annotations prometheus.io/*: expected a port, and a path that begins with '/'; they stay as they are",)
        )
    probe = ApplicationProbe(
        requested=METRICS_PATH, kind="http", port=port, path=escaped_argument(path), tls=scheme == "https", timeout_s=_TIMEOUT_S
    )
    return ScrapeSettings(_at(METRICS_PATH) | ({say.SCRAPE_SCHEME.name: "http"} if scheme else {}), probe)


def _at(path: str) -> dict[str, str]:
    return {say.SCRAPE.name: "true", say.SCRAPE_PORT.name: str(StatusPorts().stats), say.SCRAPE_PATH.name: path}
