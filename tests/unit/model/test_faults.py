"""Faults of drills: which workloads they are for."""

from __future__ import annotations

from dataclasses import replace

import pytest

from controlplane.model.faults.faults import ALL_WORKLOADS, DrillFault, FaultId, FaultSide, HitRequests, WorkloadSelection, is_in_zone
from controlplane.model.faults.kinds import CloseConnections, DelayRequests, LoseZone
from controlplane.model.keys import SERVICE


@pytest.mark.parametrize(
    ("locality", "zone", "within"),
    [
        ("eu/eu-1/rack-2", "eu", True),
        ("eu/eu-1/rack-2", "eu/eu-1", True),
        ("eu/eu-1/rack-2", "eu/eu-1/rack-2", True),
        ("eu/eu-11", "eu/eu-1", False),
        ("", "eu", False),
        ("", "", True),
    ],
)
def test_a_locality_is_in_a_zone_by_whole_names(locality: str, zone: str, within: bool) -> None:  # noqa: FBT001
    assert is_in_zone(locality, zone) is within


def test_workloads_are_selected_by_namespace_labels_and_zone() -> None:
    selection = WorkloadSelection(namespaces=("shop",), labels=(("app", "cart"),), zone="eu")

    assert selection.selects("shop", (("app", "cart"), ("version", "v1")), "eu/eu-1")
    assert not selection.selects("bank", (("app", "cart"),), "eu/eu-1")
    assert not selection.selects("shop", (("app", "web"),), "eu/eu-1")
    assert not selection.selects("shop", (("app", "cart"),), "us")
    assert ALL_WORKLOADS.selects("anywhere", ())


def test_an_injection_is_named_by_its_drill() -> None:
    fault_id = FaultId("shop", "slow-cart", "delay")

    assert (fault_id.drill_path, str(fault_id)) == ("shop/slow-cart", "shop/slow-cart/delay")


def test_what_a_kind_of_fault_cannot_do_is_a_mistake() -> None:
    fault = DrillFault(id=FaultId("shop", "drill", "x"), kind=CloseConnections(), host="cart")
    match = HitRequests(methods=("GET",))

    assert fault.mistake == ""
    assert replace(fault, per_million=500_000).mistake == "connections are closed all or nothing: expected 100 percent"
    assert replace(fault, match=match).mistake == "connections are closed whatever the request: expected no match"
    assert replace(fault, caller=WorkloadSelection(zone="eu")).mistake.startswith("callers are not told apart by their zone")
    assert replace(fault, kind=DelayRequests(5), match=match, per_million=1).mistake == ""


def test_a_fault_is_made_by_whoever_can() -> None:
    fault = DrillFault(id=FaultId("shop", "drill", "x"), kind=CloseConnections(), host="cart", side=FaultSide.CALLER)

    assert fault.acts_at is FaultSide.CALLEE
    assert replace(fault, kind=LoseZone("eu"), side=FaultSide.CALLEE).acts_at is FaultSide.CALLER
    assert replace(fault, kind=DelayRequests(5)).acts_at is FaultSide.CALLER


def test_each_fault_has_a_key_of_its_own() -> None:
    fault_id = FaultId("shop", "slow-cart", "delay")

    assert FaultId.of(fault_id.key) == fault_id
    assert FaultId.of(SERVICE.key("shop", "slow-cart/delay")) is None
