"""Which replica may lead: the newest version, and among those the ones with the options of the leader before."""

from __future__ import annotations

import pytest

from controlplane.writeback.candidates import ReplicaInfo, replica_info, why_not_leader

OLD, NEW, OTHER = ReplicaInfo("a", "0.9.0", "x"), ReplicaInfo("b", "0.10.0", "x"), ReplicaInfo("c", "0.10.0", "y")


def test_an_older_version_does_not_lead_while_a_newer_one_lives() -> None:
    assert why_not_leader(OLD, [NEW], OLD) == "the replica b is of version 0.10.0, this is 0.9.0"
    assert why_not_leader(NEW, [OLD], NEW) is None
    assert why_not_leader(OLD, [], NEW) is None  # rolled back


def test_other_options_do_not_lead_while_somebody_has_those_of_the_leader_before() -> None:
    assert why_not_leader(OTHER, [NEW], NEW) == "the replica b has the options of the leader, this has others"
    assert why_not_leader(NEW, [OTHER], NEW) is None
    assert why_not_leader(OTHER, [], NEW) is None  # all are started anew with other options


@pytest.mark.parametrize("last", [OLD, NEW, OTHER, ReplicaInfo("")])
def test_of_those_that_live_somebody_may_always_lead(last: ReplicaInfo) -> None:
    alive = [OLD, NEW, OTHER, ReplicaInfo("d", "", "")]

    assert any(why_not_leader(each, [other for other in alive if other != each], last) is None for each in alive)


def test_a_replica_is_known_by_its_lease() -> None:
    assert replica_info("b", {"metadata": {"annotations": dict(NEW.annotations)}}) == NEW
    assert replica_info("old", {"metadata": {"name": "navarch-replica-old"}}) == ReplicaInfo("old")
