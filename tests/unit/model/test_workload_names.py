"""By what names telemetry knows a workload."""

from __future__ import annotations

import pytest

from controlplane.model.telemetry.workloads import SUFFIXES, UNKNOWN, workload_names, workload_of_pod


@pytest.mark.parametrize(
    ("owner", "labels", "workload"),
    [
        (("ReplicaSet", "cart-v1-5d4f"), {"pod-template-hash": "5d4f"}, "cart-v1"),
        (("ReplicaSet", "by-hand"), {}, "by-hand"),
        (("Job", "nightly-28312345"), {}, "nightly"),
        (("ReplicationController", "cart-3"), {"deploymentconfig": "cart"}, "cart"),
        (("StatefulSet", "db"), {}, "db"),
        (("", ""), {}, "alone"),
    ],
)
def test_a_pod_is_of_what_owns_its_owner(owner: tuple[str, str], labels: dict[str, str], workload: str) -> None:
    assert workload_of_pod(owner, "alone", labels) == workload


def test_the_canonical_names_are_those_of_istio() -> None:
    labels = {"app": "cart", "version": "v1", "app.kubernetes.io/name": "basket", "service.istio.io/canonical-revision": "r7"}

    names = workload_names("cart-v1", "shop", labels)

    assert tuple(names.by_suffix.values()) == ("cart-v1", "shop", "cart", "v1", "basket", "r7", "Kubernetes")
    assert tuple(names.by_suffix) == SUFFIXES


def test_what_no_label_says_is_unknown_and_a_workload_stands_for_its_service() -> None:
    names = workload_names("cart", "shop", {})

    assert (names.app, names.version, names.canonical_service, names.canonical_revision) == (UNKNOWN, UNKNOWN, "cart", "latest")


@pytest.mark.parametrize("text", ["%REQ(x)%", "a/b", 'a"b', "a\nb", "é", "x" * 254])
def test_what_is_no_name_is_unknown(text: str) -> None:
    names = workload_names(text, "shop", {"app": text, "version": text})

    assert (names.workload, names.app, names.canonical_revision) == (UNKNOWN,) * 3
    assert names.subject.count("/") == len(SUFFIXES)
