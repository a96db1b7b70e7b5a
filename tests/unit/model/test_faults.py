"""Faults of drills: which workloads they are for."""

from __future__ import annotations

import pytest

from controlplane.model.faults.faults import ALL_WORKLOADS, FaultId, WorkloadSelection, is_in_zone


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
