"""The demo on Kubernetes: the same story by kubectl apply, at a real API server."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.cluster import Cluster
from tests.support.kube_binaries import kubectl
from tests.support.leftovers import ended_with
from tests.support.with_cluster import knowing_our_kinds

DEMO = (sys.executable, "-m", "controlplane.cli.main", "demo", "--kubernetes", "--json", "--kubeconfig")


@pytest.fixture
def own(tmp_path: Path) -> Cluster:
    return knowing_our_kinds(tmp_path / "own", controllers=True)


def demo(kubeconfig: Path) -> subprocess.CompletedProcess[str]:
    kubectl()  # which it applies with
    with ended_with():  # its control plane and Envoys too, where it does not come to an end
        return subprocess.run((*DEMO, str(kubeconfig)), capture_output=True, text=True, timeout=900, check=False)


def test_every_claim_of_the_demo_holds_on_kubernetes_and_nothing_is_left(own: Cluster) -> None:
    try:
        ran = demo(own.kubeconfig())

        assert ran.returncode == 0, ran.stderr
        told = json.loads(ran.stdout)
        print(f"{told['held']} of {told['of']} claims held in {told['seconds']} s")
        assert told["held"] == told["of"] == len(told["claims"]) == 13
        own.kubectl("wait", "--for=delete", "namespace/navarch-demo", "--timeout=300s")
    finally:
        own.stop()


def test_an_api_server_without_our_kinds_is_told_apart_with_what_to_do(cluster: Cluster) -> None:
    ran = demo(cluster.kubeconfig())

    assert ran.returncode == 2
    assert "navarch crds | kubectl" in ran.stderr
    assert "navarch-demo" not in cluster.kubectl("get", "namespaces")
