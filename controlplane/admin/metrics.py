"""Metrics of the control plane, counted when somebody asks: nothing is added up while proxies are served.

They are counted in pieces, as pages are made: ``None`` among them is none, and a place to give way to others.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

from prometheus_client import Metric, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from controlplane.admin.identity_metrics import identity_metrics
from controlplane.admin.schemas import IssuerRow, ProxyRow
from controlplane.admin.state import AdminState, KubernetesState


def metrics_page(control_plane: AdminState) -> Iterator[bytes]:
    """Yield every metric of ``control_plane`` in Prometheus's text format."""
    for metric in _metrics(control_plane):
        yield generate_latest(_OneMetric(metric)) if metric else b""


class _OneMetric(Collector):
    """What there is to collect: ``metric``."""

    def __init__(self, metric: Metric) -> None:
        self._metric = metric

    def collect(self) -> Iterator[Metric]:
        yield self._metric


def _metrics(control_plane: AdminState) -> Iterator[Metric | None]:
    yield GaugeMetricFamily("navarch_ready", "Whether proxies are answered.", value=control_plane.not_ready() is None)
    yield CounterMetricFamily("navarch_refreshes", "How often the configuration was brought up to date.", value=control_plane.refreshes())
    yield GaugeMetricFamily("navarch_tasks", "Tasks of the event loop.", value=control_plane.tasks())
    objects = GaugeMetricFamily("navarch_objects", "Objects in effect, by kind.", labels=["kind"])
    for kind, count in sorted(Counter(key.kind for key in control_plane.mesh.keys).items()):
        objects.add_metric([kind], count)
    yield objects
    yield GaugeMetricFamily(
        "navarch_held_back",
        "Objects with rules that stay as they were for now, as what their new version leads to is not there.",
        value=control_plane.held_back(),
    )
    streams = GaugeMetricFamily("navarch_streams", "Open discovery streams, by protocol.", labels=["wire"])
    for wire, count in sorted(Counter(session.variant.value for session in control_plane.sessions()).items()):
        streams.add_metric([wire], count)
    yield streams
    yield from control_plane.observed()
    yield from _proxy_metrics(control_plane.proxies(None))
    rejects = CounterMetricFamily("navarch_xds_rejects", "Responses that proxies refused (NACK), by type.", labels=["type"])
    for type_url, count in sorted(control_plane.rejects().items()):
        rejects.add_metric([type_url.rpartition(".")[2]], count)
    yield rejects
    refused = CounterMetricFamily("navarch_callers_refused", "Callers that were not let in, by reason.", labels=["reason"])
    for reason, count in sorted(control_plane.callers_refused().items()):
        refused.add_metric([reason], count)
    yield refused
    if identity := control_plane.identity():
        yield from identity_metrics(identity, time.time())
    yield from _issuer_metrics(control_plane)
    yield from _load_metrics(control_plane.load_totals())
    if control_plane.kubernetes:
        yield from _kubernetes_metrics(control_plane.kubernetes)


def _proxy_metrics(rows: Iterable[ProxyRow]) -> Iterator[Metric | None]:
    synced: Counter[bool] = Counter()
    refusing: Counter[str] = Counter()
    reporting = 0
    for row in rows:
        synced[row.synced] += 1
        reporting += bool(row.reported_at)
        refusing.update(state.type for stream in row.connections for state in stream.types if state.refuses)
        yield None
    proxies = GaugeMetricFamily(
        "navarch_proxies", "Connected proxies, by whether they have accepted what they were sent.", labels=["synced"]
    )
    for is_synced in (True, False):
        proxies.add_metric([str(is_synced).lower()], synced[is_synced])
    yield proxies
    yield GaugeMetricFamily("navarch_proxies_reporting", "Proxies that report their traffic.", value=reporting)
    refused = GaugeMetricFamily("navarch_refused", "Streams whose last answer of a type was a refusal.", labels=["type"])
    for name, count in sorted(refusing.items()):
        refused.add_metric([name], count)
    yield refused


def _issuer_metrics(control_plane: AdminState) -> Iterator[Metric]:
    rows = control_plane.issuers()
    issuers = GaugeMetricFamily("navarch_jwks_addresses", "Where keys of token issuers are fetched, by what there is.", labels=["keys"])
    for state, count in sorted(Counter(_keys_state(row) for row in rows).items()):
        issuers.add_metric([state], count)
    yield issuers
    yield GaugeMetricFamily(
        "navarch_jwks_oldest_seconds", "Age of the oldest keys in use.", value=max((row.age_s or 0.0 for row in rows), default=0.0)
    )
    fetches = CounterMetricFamily("navarch_jwks_fetches", "Attempts at fetching keys of token issuers.", labels=["outcome"])
    for outcome, count in sorted(control_plane.fetches().items()):
        fetches.add_metric([outcome], count)
    yield fetches
    modules = CounterMetricFamily("navarch_module_fetches", "Attempts at fetching modules in WebAssembly.", labels=["outcome"])
    for outcome, count in sorted(control_plane.module_fetches().items()):
        modules.add_metric([outcome], count)
    yield modules


def _keys_state(row: IssuerRow) -> str:
    if not row.usable:
        return "none"
    return "old" if row.failures else "fresh"


def _load_metrics(totals: Mapping[str, tuple[int, int]]) -> Iterator[Metric]:
    requests = CounterMetricFamily("navarch_load_requests", "Requests that proxies report, by cluster.", labels=["cluster"])
    errors = CounterMetricFamily("navarch_load_errors", "Requests that proxies report as failed, by cluster.", labels=["cluster"])
    for cluster, (begun, failed) in sorted(totals.items()):
        requests.add_metric([cluster], begun)
        errors.add_metric([cluster], failed)
    yield requests
    yield errors


def _kubernetes_metrics(control_plane: KubernetesState) -> Iterator[Metric]:
    silent = GaugeMetricFamily("navarch_kubernetes_silence_seconds", "Since something was heard of a resource.", labels=["resource"])
    for resource, seconds in sorted(control_plane.silences().items()):
        silent.add_metric([resource], seconds)
    yield silent
    yield GaugeMetricFamily("navarch_kubernetes_leader", "Whether this replica writes the status of objects.", value=control_plane.leads())
    yield CounterMetricFamily("navarch_kubernetes_status_writes", "Statuses written.", value=control_plane.status_writes())
    yield CounterMetricFamily(
        "navarch_kubernetes_status_failures", "Statuses that the API server did not take.", value=control_plane.status_failures()
    )
    yield GaugeMetricFamily(
        "navarch_kubernetes_status_unwritten", "Objects whose status the API server does not take.", value=len(control_plane.problems())
    )
    reached = GaugeMetricFamily(
        "navarch_webhook_reached", "Whether the API server reaches the webhooks, as the leader has tried.", labels=["configuration"]
    )
    for configuration, is_reached in sorted(control_plane.reached().items()):
        reached.add_metric([configuration], is_reached)
    yield reached
    reviews = CounterMetricFamily("navarch_webhook_reviews", "Answers of the webhooks.", labels=["answer"])
    for answer, count in sorted(control_plane.reviews().items()):
        reviews.add_metric([answer], count)
    yield reviews
