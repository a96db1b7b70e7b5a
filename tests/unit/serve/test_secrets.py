"""Secrets of streams while nothing can be issued: nobody tries without end, and it goes on once it can."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from controlplane.ca.certificates import BadCertificate, read_certificates
from controlplane.ca.leaf_certificates import LeafCertificate, LeafCertificates, LeafHolder
from controlplane.ca.rotation import AuthorityState, CertificateIssuer, initial_state, new_issuer
from controlplane.envoy.type_urls import SDS
from controlplane.model.identity import Identity
from controlplane.model.telemetry.workloads import WorkloadNames, workload_names
from controlplane.serve.sds.secrets import Secrets
from controlplane.translate.tls.secrets import IDENTITY

NOW = dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC)
HOUR = dt.timedelta(hours=1)
KEY = ec.generate_private_key(ec.SECP256R1())


class Kept:
    """An authority that another follows when a test says so."""

    def __init__(self, state: AuthorityState) -> None:
        self.state = state
        self._listeners: list[Callable[[], None]] = []

    def on_change(self, listener: Callable[[], None]) -> None:
        self._listeners.append(listener)

    def follow(self, state: AuthorityState) -> None:
        self.state = state
        for each in self._listeners:
            each()


class Counting(LeafCertificates):
    """Counts how often somebody tries."""

    tries = 0

    def leaf(self, holder: LeafHolder, issuer: CertificateIssuer, now: dt.datetime, names: WorkloadNames | None = None) -> LeafCertificate:
        self.tries += 1
        return super().leaf(holder, issuer, now, names)


def holder(number: int) -> LeafHolder:
    return LeafHolder(Identity("td", "a", "b"), f"proxy-{number}")


def test_t17_while_nothing_can_be_issued_it_is_tried_once_in_a_while_whoever_comes(caplog: pytest.LogCaptureFixture) -> None:
    authority, vault, at = Kept(initial_state(new_issuer(KEY, NOW, HOUR))), Counting(HOUR / 2, lambda: KEY, lambda: 0.5), [NOW]
    secrets = Secrets(authority, vault, lambda: at[0])
    tables = [secrets.open(holder(number)) for number in range(20)]
    at[0] = NOW + 2 * HOUR  # the authority has expired
    secrets._renew()
    vault.tries = 0

    for _ in range(50):  # streams that come, and the task that is woken by each
        secrets._renew()
        with pytest.raises(BadCertificate):
            secrets.open(holder(99))
    assert vault.tries == 50  # those who came, and none of the others
    at[0] += dt.timedelta(seconds=5)
    secrets._renew()
    assert vault.tries == 70

    authority.follow(initial_state(new_issuer(ec.generate_private_key(ec.SECP256R1()), at[0], HOUR)))
    secrets._renew()

    assert vault.tries == 90
    assert all(table.of_type(SDS)[IDENTITY] for table in tables)
    known = vault.current(holder(3))
    assert known
    assert read_certificates(known.chain)[0].not_valid_after_utc > at[0]


def test_a_certificate_is_issued_anew_when_its_workload_gets_another_name() -> None:
    authority, vault = Kept(initial_state(new_issuer(KEY, NOW, HOUR))), LeafCertificates(HOUR / 2, lambda: KEY, lambda: 0.5)
    named: dict[str, WorkloadNames] = {}
    secrets = Secrets(authority, vault, lambda: NOW, lambda _, pod: named.get(pod))
    pods = [LeafHolder(Identity("td", "a", "b"), f"proxy-{number}", f"pod-{number}") for number in range(250)]
    for pod in pods:
        secrets.open(pod)
    before = vault.issued

    secrets._renew()
    named["pod-7"] = workload_names("cart-v1", "a", {})
    for _ in range(3):
        secrets._renew()

    assert vault.issued == before + 1
    renewed = vault.current(pods[7])
    assert renewed is not None
    assert renewed.names == named["pod-7"]
