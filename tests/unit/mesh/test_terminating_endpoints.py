"""Endpoints that are going: sent to where no other is ready, as kube-proxy does."""

from __future__ import annotations

import json

import pytest

from controlplane.envoy.type_urls import EDS
from controlplane.mesh.mesh import Mesh
from controlplane.model.proxies import proxy_from_node
from controlplane.objects.changes import split
from controlplane.sources.files.folder import ManifestFolder
from controlplane.sources.files.manifest import parse_file
from controlplane.untyped import Json
from controlplane.xds.stream import Variant
from tests.support.translate_cases import METADATA, NODE

READY: Json = {"ready": True, "serving": True, "terminating": False}
GOING: Json = {"ready": False, "serving": True, "terminating": True}
GONE: Json = {"ready": False, "serving": False, "terminating": True}
NOT_YET: Json = {"ready": False, "serving": False, "terminating": False}
OF_PORTS = ("http", 80, 8080), ("admin", 81, 8081)


def service(**spec: object) -> Json:
    ports = [{"name": name, "port": port, "targetPort": target} for name, port, target in OF_PORTS]
    metadata = {"name": "shop", "namespace": "default"}
    return {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": {"selector": {"app": "shop"}, "ports": ports, **spec}}


def slice_of(name: str, *endpoints: tuple[str, Json | None], ports: tuple[str, ...] = ("http", "admin")) -> Json:
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": name, "namespace": "default", "labels": {"kubernetes.io/service-name": "shop"}},
        "addressType": "IPv4",
        "ports": [{"name": port, "port": target} for port, _, target in OF_PORTS if port in ports],
        "endpoints": [{"addresses": [address], "conditions": conditions} for address, conditions in endpoints],
    }


def pod(address: str, *, ready: bool = True, going: bool = False, phase: str = "Running") -> Json:
    last = address.rpartition(".")[2]
    deleted = {"deletionTimestamp": "2026-01-01T00:00:00Z"} if going else {}
    conditions = [{"type": "Ready", "status": str(ready)}]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": f"shop-{last}", "namespace": "default", "labels": {"app": "shop"}, **deleted},
        "spec": {"containers": [{"name": "c", "image": "x"}]},
        "status": {"phase": phase, "podIP": address, "conditions": conditions},
    }


def sent(*documents: Json, port: int = 80, host: str = "shop.default.svc.cluster.local") -> list[str]:
    """Return to which addresses requests for the port of ``documents`` are sent."""
    mesh = Mesh()
    mesh.apply(split(ManifestFolder().take({"objects.yaml": parse_file("\n---\n".join(map(json.dumps, documents)))}, 0.0))[0])
    session = mesh.connect(proxy_from_node(NODE, METADATA), Variant.SOTW)
    mesh.refresh()
    [found] = [each for each in session.view.resources(EDS) if each.name == f"outbound|{port}||{host}"]
    return [address for address in (f"10.1.0.{last}" for last in range(1, 10)) if address.encode() in found.value]


def test_ready_endpoints_alone_are_sent_to() -> None:
    assert sent(service(), slice_of("a", ("10.1.0.1", READY), ("10.1.0.2", GOING), ("10.1.0.3", NOT_YET))) == ["10.1.0.1"]


def test_where_none_is_ready_those_that_are_going_and_serve_are_sent_to() -> None:
    only = slice_of("a", ("10.1.0.1", GONE), ("10.1.0.2", GOING), ("10.1.0.3", NOT_YET), ("10.1.0.4", GOING))

    assert sent(service(), only) == ["10.1.0.2", "10.1.0.4"]


@pytest.mark.parametrize(
    ("conditions", "used"),
    [
        ({"ready": False, "terminating": True}, ["10.1.0.1"]),  # what is not said of serving counts as true
        ({"ready": False, "serving": True}, []),  # and of terminating as false
        ({"ready": False}, []),
        ({"ready": None, "serving": False, "terminating": True}, ["10.1.0.1"]),
        ({}, ["10.1.0.1"]),
        (None, ["10.1.0.1"]),
    ],
)
def test_what_is_not_said_counts_as_with_kube_proxy(conditions: Json | None, used: list[str]) -> None:
    assert sent(service(), slice_of("a", ("10.1.0.1", conditions))) == used


def test_the_ready_ones_of_all_slices_of_a_port_count_together() -> None:
    slices = slice_of("a", ("10.1.0.1", GOING)), slice_of("b", ("10.1.0.2", READY), ports=("http",))

    assert sent(service(), *slices) == ["10.1.0.2"]
    assert sent(service(), *slices, port=81) == ["10.1.0.1"]  # which no ready endpoint has


def test_pods_of_a_service_without_slices_are_sent_to_by_the_same_rule() -> None:
    going = pod("10.1.0.2", going=True)

    assert sent(service(), pod("10.1.0.1"), going) == ["10.1.0.1"]
    assert sent(service(), pod("10.1.0.1", ready=False), going, pod("10.1.0.3", ready=False, going=True)) == ["10.1.0.2"]


def test_pods_of_a_service_entry_are_sent_to_by_the_same_rule() -> None:
    entry: Json = {
        "apiVersion": "networking.istio.io/v1",
        "kind": "ServiceEntry",
        "metadata": {"name": "shop", "namespace": "default"},
        "spec": {
            "hosts": ["shop.example"],
            "ports": [{"number": 80, "name": "http", "protocol": "HTTP"}],
            "resolution": "STATIC",
            "location": "MESH_INTERNAL",
            "workloadSelector": {"labels": {"app": "shop"}},
        },
    }
    workload: Json = {
        "apiVersion": "networking.istio.io/v1",
        "kind": "WorkloadEntry",
        "metadata": {"name": "vm", "namespace": "default"},
        "spec": {"address": "10.1.0.5", "labels": {"app": "shop"}},
    }

    assert sent(entry, pod("10.1.0.1"), pod("10.1.0.2", going=True), host="shop.example") == ["10.1.0.1"]
    assert sent(entry, pod("10.1.0.2", going=True), host="shop.example") == ["10.1.0.2"]
    assert sent(entry, workload, pod("10.1.0.2", going=True), host="shop.example") == ["10.1.0.5"]


def test_a_service_that_publishes_what_is_not_ready_has_all_its_pods_but_those_that_ended() -> None:
    pods = pod("10.1.0.1", ready=False), pod("10.1.0.2", going=True), pod("10.1.0.3", ready=False, phase="Pending")
    ended = pod("10.1.0.4", phase="Succeeded")

    assert sent(service(publishNotReadyAddresses=True), *pods, ended) == ["10.1.0.1", "10.1.0.2", "10.1.0.3"]
    # The API server says so in slices itself.
    slices = slice_of("a", ("10.1.0.1", {"ready": True, "serving": False, "terminating": True}), ("10.1.0.2", READY))
    assert sent(service(publishNotReadyAddresses=True), slices) == ["10.1.0.1", "10.1.0.2"]
