"""Metrics of identities: what expires when, what was signed, who was not let in, and how far a rotation is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

from controlplane.admin.schemas import IdentityRow

_PHASES = ("steady", "prepared", "activated")


def identity_metrics(row: IdentityRow, now: float) -> Iterator[Metric]:
    """Yield the metrics of ``row`` at the time ``now``."""
    yield from _expiry_metrics(row, now)
    phase = GaugeMetricFamily("navarch_authority_phase", "How far a rotation of the root is: 1 at the phase of now.", labels=["phase"])
    for name in _PHASES:
        phase.add_metric([name], name == row.phase)
    yield phase
    waiting = row.waiting_for
    yield _gauge(
        "navarch_authority_waiting",
        "For whom the next phase of a rotation waits.",
        "for",
        {"bundle": waiting.bundle, "certificate": waiting.certificate, "namespaces": waiting.namespaces},
    )
    yield GaugeMetricFamily("navarch_certificates", "Certificates of workloads that are out.", value=row.certificates)
    yield CounterMetricFamily("navarch_certificates_issued", "Certificates of workloads that were made.", value=row.issued)
    yield _gauge("navarch_credentials", "Credentials that proxies have asked for, by whether they can have them.", "state", row.credentials)
    yield _counter("navarch_csr_requests", "Requests to sign a key, by what became of them.", "answer", row.requests)


def _expiry_metrics(row: IdentityRow, now: float) -> Iterator[Metric]:
    roots = GaugeMetricFamily("navarch_root_expiry_seconds", "Until a root that is trusted expires.", labels=["root", "signs"])
    for root in row.roots:
        roots.add_metric([root.root[:16], str(root.signs).lower()], root.expires_at - now)
    yield roots
    signing = min((root.issuer_expires_at for root in row.roots if root.signs), default=now)
    yield GaugeMetricFamily("navarch_issuer_expiry_seconds", "Until the certificate expires that signs.", value=signing - now)
    if row.first_expires_at is not None:
        first = row.first_expires_at - now
        yield GaugeMetricFamily("navarch_certificate_expiry_seconds", "Until the first certificate of a workload expires.", value=first)


def _gauge(name: str, description: str, label: str, values: Mapping[str, int]) -> Metric:
    family = GaugeMetricFamily(name, description, labels=[label])
    for label_value, value in sorted(values.items()):
        family.add_metric([label_value], value)
    return family


def _counter(name: str, description: str, label: str, values: Mapping[str, int]) -> Metric:
    family = CounterMetricFamily(name, description, labels=[label])
    for label_value, value in sorted(values.items()):
        family.add_metric([label_value], value)
    return family
