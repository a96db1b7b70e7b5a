"""The certificates in use: who has which, and when each is renewed. Pure: time and chance are arguments.

A certificate is renewed at half of its life, give or take a tenth, so that proxies that came together do not renew together.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass, field
from heapq import heappop, heappush

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

from controlplane.ca.certificates import key_pem, read_certificates, workload_certificate
from controlplane.ca.rotation import CertificateIssuer
from controlplane.model.identity import Identity
from controlplane.model.telemetry.workloads import WorkloadNames

RENEW_AT = (0.4, 0.6)  # of the life
MAX_LIFETIME = dt.timedelta(days=90)
MIN_LIFETIME = dt.timedelta(seconds=10)


@dataclass(frozen=True, slots=True)
class LeafHolder:
    """Who has a certificate: a proxy of an identity, by its node id, so that pods of one account have keys of their own."""

    who: Identity
    proxy: str
    pod: str = ""  # that its token is bound to, if it is


@dataclass(frozen=True, slots=True)
class LeafCertificate:
    """A certificate in use, with its key, which is never shown."""

    chain: bytes  # PEM, the leaf first
    key: bytes = field(repr=False)  # PEM
    serial: int
    expires_at: dt.datetime
    renew_at: dt.datetime
    issued_by: str  # the fingerprint of the root
    names: WorkloadNames | None = None  # of its workload, as it says them


class LeafCertificates:
    """One leaf a holder, kept as long as it is asked for."""

    def __init__(self, lifetime: dt.timedelta, make_key: Callable[[], EllipticCurvePrivateKey], random: Callable[[], float]) -> None:
        """Issue for ``lifetime`` to keys by ``make_key``; ``random`` gives numbers from 0 to 1."""
        self._lifetime = lifetime
        self._make_key = make_key
        self._random = random
        self._leaves: dict[LeafHolder, LeafCertificate] = {}
        self._renewals: list[tuple[dt.datetime, int, LeafHolder]] = []
        self._count = 0
        self.issued = 0

    def leaf(self, holder: LeafHolder, issuer: CertificateIssuer, now: dt.datetime, names: WorkloadNames | None = None) -> LeafCertificate:
        """Return the leaf of ``holder``: the current one, or a new one where that is due, or not by ``issuer``, or of other ``names``.

        Raises BadCertificate where the issuer has expired.
        """
        current = self._leaves.get(holder)
        if current and now < current.renew_at and current.issued_by == issuer.fingerprint and current.names == names:
            return current
        key = self._make_key()
        chain = workload_certificate(issuer.signer, holder.who, key.public_key(), now, self._lifetime, names)
        certificate = read_certificates(chain)[0]
        low, high = RENEW_AT
        life = certificate.not_valid_after_utc - now
        renew_at = now + life * (low + (high - low) * self._random())
        serial, expires_at = certificate.serial_number, certificate.not_valid_after_utc
        leaf = LeafCertificate(chain, key_pem(key), serial, expires_at, renew_at, issuer.fingerprint, names)
        self._leaves[holder] = leaf
        self._count += 1
        self.issued += 1
        heappush(self._renewals, (renew_at, self._count, holder))
        return leaf

    def __len__(self) -> int:
        """Return how many leaves are in use."""
        return len(self._leaves)

    def current(self, holder: LeafHolder) -> LeafCertificate | None:
        """Return the current leaf of ``holder``."""
        return self._leaves.get(holder)

    def forget(self, holder: LeafHolder) -> None:
        """Forget the leaf of ``holder``."""
        self._leaves.pop(holder, None)

    def due(self, now: dt.datetime) -> tuple[LeafHolder, ...]:
        """Return whose leaf is to be renewed by ``now``, each once."""
        holders: dict[LeafHolder, None] = {}
        while self._renewals and self._renewals[0][0] <= now:
            renew_at, _, holder = heappop(self._renewals)
            leaf = self._leaves.get(holder)
            if leaf is not None and leaf.renew_at == renew_at:
                holders[holder] = None
        return tuple(holders)

    def next_due(self) -> dt.datetime | None:
        """Return when to look again, ``None`` while no leaf is in use."""
        while self._renewals and ((leaf := self._leaves.get(self._renewals[0][2])) is None or leaf.renew_at != self._renewals[0][0]):
            heappop(self._renewals)
        return self._renewals[0][0] if self._renewals else None

    def first_expiry(self) -> dt.datetime | None:
        """Return when the first of the leaves in use expires."""
        return min((leaf.expires_at for leaf in self._leaves.values()), default=None)
