"""Which Envoys are supported, and what is said of the others."""

from __future__ import annotations

import pytest

from controlplane.model.envoy_versions import NEWEST, OLDEST, EnvoyVersion, concern, counting_concern, counts_by_labels, takes_vhds
from controlplane.model.problems import Severity
from tests.support import envoy_versions

CASES = {
    None: "UnknownEnvoy",
    EnvoyVersion(1, 18, 3): "OldEnvoy",
    EnvoyVersion(1, 35, 9): "OldEnvoy",
    EnvoyVersion(1, 36, 0): None,
    EnvoyVersion(1, 40, 0): None,
    EnvoyVersion(1, 40, 7): None,
    EnvoyVersion(1, 41, 0): "NewEnvoy",
    EnvoyVersion(2, 0, 0): "NewEnvoy",
}


@pytest.mark.parametrize("version", CASES, ids=str)
def test_what_is_not_supported_is_told(version: EnvoyVersion | None) -> None:
    found = concern(version)

    assert (found.code if found else None) == CASES[version]
    assert found is None or "supported are 1.36 to 1.40" in found.words


def test_only_what_may_not_work_is_a_warning() -> None:
    severities = {version: found.severity for version in CASES if (found := concern(version))}

    assert {version for version, severity in severities.items() if severity is Severity.INFO} == {(1, 41, 0), (2, 0, 0)}


@pytest.mark.parametrize(("version", "taken"), [((1, 35, 9), False), ((1, 36, 4), False), ((1, 37, 0), True), ((1, 41, 0), True)])
def test_virtual_hosts_of_their_own_are_for_those_who_take_them(version: tuple[int, int, int], *, taken: bool) -> None:
    assert takes_vhds(EnvoyVersion(*version)) is taken


@pytest.mark.parametrize(("version", "counts"), [((1, 36, 4), False), ((1, 38, 3), False), ((1, 39, 3), False), ((1, 40, 0), True)])
def test_who_cannot_count_by_labels_is_told(version: tuple[int, int, int], *, counts: bool) -> None:
    found = counting_concern(EnvoyVersion(*version))

    assert counts_by_labels(EnvoyVersion(*version)) is counts
    assert found is None if counts else found is not None and found.code == "NoMetrics"


def test_the_oldest_and_the_newest_are_among_those_that_tests_run_with() -> None:
    tried = [tuple(int(part) for part in version.split(".")[:2]) for version in envoy_versions.VERSIONS]

    assert tried == [(1, minor) for minor in range(OLDEST.minor, NEWEST.minor + 1)]
