"""Leaves are renewed at half of their lives, spread out, whoever came together with whom."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from random import Random

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from controlplane.ca.certificates import read_certificates
from controlplane.ca.leaf_certificates import LeafCertificate, LeafCertificates, LeafHolder
from controlplane.ca.rotation import new_issuer
from controlplane.model.identity import Identity

BEGIN = dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC)
SECOND = dt.timedelta(seconds=1)
KEY = ec.generate_private_key(ec.SECP256R1())
ISSUER = new_issuer(KEY, BEGIN)


def vault(lifetime: dt.timedelta) -> LeafCertificates:
    return LeafCertificates(lifetime, lambda: KEY, Random(1).random)


def holder(number: int) -> LeafHolder:
    return LeafHolder(Identity("td", "a", f"sa-{number % 7}"), f"proxy-{number}")


def test_s32_a_hundred_leaves_of_20_s_never_expire_and_are_renewed_apart() -> None:
    found, held, renewals = vault(20 * SECOND), dict[LeafHolder, LeafCertificate](), Counter[int]()
    for number in range(100):
        held[holder(number)] = found.leaf(holder(number), ISSUER, BEGIN)
    now = BEGIN
    while now < BEGIN + 180 * SECOND:
        following = found.next_due()
        assert following
        now = max(now, following)
        for each in found.due(now):
            assert now < held[each].expires_at
            held[each] = found.leaf(each, ISSUER, now)
            renewals[int((now - BEGIN).total_seconds())] += 1

    assert 1500 < sum(renewals.values()) < 2200
    assert max(renewals.values()) <= sum(renewals.values()) / 10
    assert all(leaf.expires_at > now for leaf in held.values())


def test_who_asks_again_gets_what_is_out_until_it_is_due() -> None:
    found = vault(dt.timedelta(hours=10))
    first = found.leaf(holder(1), ISSUER, BEGIN)

    assert found.leaf(holder(1), ISSUER, BEGIN + dt.timedelta(hours=3)) is first
    assert found.leaf(holder(8), ISSUER, BEGIN) is not first  # the same account, another pod
    assert found.leaf(holder(1), ISSUER, first.renew_at) is not first
    assert dt.timedelta(hours=4) <= first.renew_at - BEGIN <= dt.timedelta(hours=6)


def test_another_root_means_another_leaf() -> None:
    found, other = vault(dt.timedelta(hours=1)), new_issuer(ec.generate_private_key(ec.SECP256R1()), BEGIN)
    first = found.leaf(holder(1), ISSUER, BEGIN)

    second = found.leaf(holder(1), other, BEGIN)

    assert (first.issued_by, second.issued_by) == (ISSUER.fingerprint, other.fingerprint)
    read_certificates(second.chain)[0].verify_directly_issued_by(other.signer.certificate)


def test_what_nobody_holds_any_more_is_forgotten() -> None:
    found = vault(20 * SECOND)
    found.leaf(holder(1), ISSUER, BEGIN)
    found.forget(holder(1))

    assert len(found) == 0
    assert found.next_due() is None
    assert found.due(BEGIN + dt.timedelta(hours=1)) == ()


def test_s33_a_clock_that_jumps_ahead_renews_each_once_and_one_that_goes_back_renews_nothing() -> None:
    found = vault(dt.timedelta(hours=24))
    for number in range(20):
        found.leaf(holder(number), ISSUER, BEGIN)
    later = BEGIN + dt.timedelta(hours=25)

    due = found.due(later)
    renewed = [found.leaf(each, ISSUER, later) for each in due]

    assert len(due) == len(set(due)) == 20
    assert all(each.expires_at > later for each in renewed)
    assert found.due(later) == found.due(BEGIN - dt.timedelta(hours=1)) == ()


def test_keys_are_not_shown() -> None:
    leaf = vault(SECOND * 60).leaf(holder(1), ISSUER, BEGIN)
    assert "PRIVATE" not in repr(leaf)
    with pytest.raises(AttributeError):
        leaf.key = b""  # type: ignore[misc]
