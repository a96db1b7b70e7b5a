"""Metrics of the control plane, counted when somebody asks: nothing is added up while proxies are served."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from controlplane.admin.identity_metrics import identity_metrics
from controlplane.admin.schemas import IssuerRow, ProxyRow
from controlplane.admin.state import AdminState, KubernetesState


class MetricsCollector(Collector):
    """Reads ``facts`` whenever it is scraped."""

    def __init__(self, facts: AdminState) -> None:
        """Read ``facts``."""
        self._facts = facts

    def describe(self) -> Iterator[Metric]:
        """Yield nothing: names are checked when they are collected."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """Yield every metric."""
        facts = self._facts
        yield GaugeMetricFamily("navarch_ready", "Whether proxies are answered.", value=facts.not_ready() is None)
        yield CounterMetricFamily("navarch_refreshes", "How often the configuration was brought up to date.", value=facts.refreshes())
        objects = GaugeMetricFamily("navarch_objects", "Objects in effect, by kind.", labels=["kind"])
        for kind, count in sorted(Counter(each.key.kind for each in facts.mesh.objects()).items()):
            objects.add_metric([kind], count)
        yield objects
        streams = GaugeMetricFamily("navarch_streams", "Open discovery streams, by protocol.", labels=["wire"])
        for wire, count in sorted(Counter(each.variant.value for each in facts.sessions()).items()):
            streams.add_metric([wire], count)
        yield streams
        yield from _of_proxies(facts.proxies())
        rejects = CounterMetricFamily("navarch_xds_rejects", "Responses that proxies refused (NACK), by type.", labels=["type"])
        for type_url, count in sorted(facts.rejects().items()):
            rejects.add_metric([type_url.rpartition(".")[2]], count)
        yield rejects
        if identity := facts.identity():
            yield from identity_metrics(identity, time.time())
        yield from _of_issuers(facts)
        yield from _of_load(facts.load_totals())
        if facts.kubernetes:
            yield from _of_kubernetes(facts.kubernetes)


def _of_proxies(rows: Sequence[ProxyRow]) -> Iterator[Metric]:
    proxies = GaugeMetricFamily(
        "navarch_proxies", "Connected proxies, by whether they have accepted what they were sent.", labels=["synced"]
    )
    for synced in (True, False):
        proxies.add_metric([str(synced).lower()], sum(each.synced is synced for each in rows))
    yield proxies
    yield GaugeMetricFamily(
        "navarch_proxies_reporting", "Proxies that report their traffic.", value=sum(bool(row.reported_at) for row in rows)
    )
    refused = GaugeMetricFamily("navarch_refused", "Streams whose last answer of a type was a refusal.", labels=["type"])
    states = [each for row in rows for stream in row.connections for each in stream.types]
    for name, count in sorted(Counter(each.type for each in states if each.refuses).items()):
        refused.add_metric([name], count)
    yield refused


def _of_issuers(facts: AdminState) -> Iterator[Metric]:
    rows = facts.issuers()
    issuers = GaugeMetricFamily("navarch_jwks_addresses", "Where keys of token issuers are fetched, by what there is.", labels=["keys"])
    for state, count in sorted(Counter(_keys(each) for each in rows).items()):
        issuers.add_metric([state], count)
    yield issuers
    yield GaugeMetricFamily(
        "navarch_jwks_oldest_seconds", "Age of the oldest keys in use.", value=max((each.age_s or 0.0 for each in rows), default=0.0)
    )
    fetches = CounterMetricFamily("navarch_jwks_fetches", "Attempts at fetching keys of token issuers.", labels=["outcome"])
    for outcome, count in sorted(facts.fetches().items()):
        fetches.add_metric([outcome], count)
    yield fetches


def _keys(row: IssuerRow) -> str:
    if not row.usable:
        return "none"
    return "old" if row.failures else "fresh"


def _of_load(totals: Mapping[str, tuple[int, int]]) -> Iterator[Metric]:
    requests = CounterMetricFamily("navarch_load_requests", "Requests that proxies report, by cluster.", labels=["cluster"])
    errors = CounterMetricFamily("navarch_load_errors", "Requests that proxies report as failed, by cluster.", labels=["cluster"])
    for cluster, (begun, failed) in sorted(totals.items()):
        requests.add_metric([cluster], begun)
        errors.add_metric([cluster], failed)
    yield requests
    yield errors


def _of_kubernetes(facts: KubernetesState) -> Iterator[Metric]:
    silent = GaugeMetricFamily("navarch_kubernetes_silence_seconds", "Since something was heard of a resource.", labels=["resource"])
    for resource, seconds in sorted(facts.silences().items()):
        silent.add_metric([resource], seconds)
    yield silent
    yield GaugeMetricFamily("navarch_kubernetes_leader", "Whether this replica writes the status of objects.", value=facts.leads())
    yield CounterMetricFamily("navarch_kubernetes_status_writes", "Statuses written.", value=facts.status_writes())
    reviews = CounterMetricFamily("navarch_webhook_reviews", "Answers of the webhooks.", labels=["answer"])
    for answer, count in sorted(facts.reviews().items()):
        reviews.add_metric([answer], count)
    yield reviews
