"""The source ``kubernetes`` on the small API server and on a real one: what is applied is served, whatever happens to the connection."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from envoy.config.endpoint.v3.endpoint_pb2 import ClusterLoadAssignment
from envoy.service.discovery.v3.discovery_pb2 import DeltaDiscoveryResponse

from controlplane.envoy.type_urls import EDS
from tests.support.api_servers import BOTH, ApiServer, started
from tests.support.control_plane import delta, delta_request, next_delta
from tests.support.crd_definitions import define, definition, undefine
from tests.support.kube_control_plane import names, serving
from tests.support.kube_objects import NETWORKING, create, endpoint_slice, route, seen, service
from tests.support.waiting import at_most, until


@pytest.fixture(scope="module", params=BOTH)
def own(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    """Give an API server that this module may kill."""
    yield from started(request.param, tmp_path_factory.mktemp("own"))


async def test_what_is_created_and_deleted_is_served_and_gone(own: ApiServer) -> None:
    namespace = own.namespace("plain")
    create(own, namespace, service("one"))
    async with serving(own.kubeconfig()) as running:
        assert await names(running, "Service", namespace) == {"one"}

        create(own, namespace, service("two"))
        own.call("DELETE", f"/api/v1/namespaces/{namespace}/services/one")

        await seen(running, "Service", namespace, "two")


async def test_only_the_chosen_namespaces_are_read(own: ApiServer) -> None:
    ours, other = own.namespace("chosen"), own.namespace("other")
    create(own, ours, service("one"))
    create(own, other, service("two"))

    async with serving(own.kubeconfig(), namespaces=(ours,)) as running:
        assert await names(running, "Service", ours) == {"one"}
        assert await names(running, "Service", other) == set()
        assert await names(running, "Namespace", "") == {ours}


async def test_an_object_in_a_folder_too_is_taken_from_there_with_a_problem(own: ApiServer, tmp_path: Path) -> None:
    namespace = own.namespace("both")
    create(own, namespace, service("reviews"), route("r", timeout="1s"))
    given = route("r", timeout="7s")
    (tmp_path / "r.yaml").write_text(json.dumps({**given, "metadata": {"name": "r", "namespace": namespace}}))

    async with serving(own.kubeconfig(), files=(str(tmp_path),)) as running:
        problems = await running.json("/v1/problems")
        assert isinstance(problems, list)
        found = [each for each in problems if each["code"] == "Shadowed"]
        assert [each["object"] for each in found] == [f"VirtualService/{namespace}/r"]
        assert f"the one of files {tmp_path} is used" in found[0]["message"]

        (tmp_path / "r.yaml").unlink()

        await seen(running, "VirtualService", namespace, "r")


async def test_s14_an_invalid_object_leaves_its_last_good_meaning_and_a_problem_says_so(own: ApiServer) -> None:
    namespace = own.namespace("invalid")
    create(own, namespace, service("reviews"), route("r"))
    async with serving(own.kubeconfig()) as running:
        # The schema lets this pass: the sum of the weights is a matter of the validator.
        two = [{"destination": {"host": "reviews"}, "weight": 0}, {"destination": {"host": "reviews"}, "weight": 0}]
        patch = {"spec": {"http": [{"route": two}]}}
        path = f"{NETWORKING}/namespaces/{namespace}/virtualservices/r"
        own.call("PATCH", path, patch, "application/merge-patch+json")

        async def told() -> bool:
            found = await running.json("/v1/problems")
            assert isinstance(found, list)
            return any(each["object"] == f"VirtualService/{namespace}/r" and each["severity"] == "error" for each in found)

        await until(told, deadline_s=at_most(5))
        assert await names(running, "VirtualService", namespace) == {"r"}


async def test_s02_s06_an_api_server_that_is_down_changes_nothing_and_what_happened_meanwhile_is_seen(own: ApiServer) -> None:
    namespace = own.namespace("outage")
    create(own, namespace, service("one"), service("two"), route("r"))
    async with serving(own.kubeconfig()) as running:
        refreshes = running.plane.refreshes
        await asyncio.to_thread(own.kill_api)
        await asyncio.to_thread(own.start_api)
        await asyncio.to_thread(own.call, "DELETE", f"/api/v1/namespaces/{namespace}/services/one")
        await asyncio.to_thread(own.compact)

        await seen(running, "Service", namespace, "two", within_s=10)

        assert await running.ready()
        assert running.plane.refreshes <= refreshes + 2  # for the deletion, not for the outage


async def test_s52_a_kind_that_is_deleted_and_made_again_takes_no_object_with_it_at_once(own: ApiServer) -> None:
    namespace = own.namespace("kinds")
    create(own, namespace, service("reviews"), route("r"))
    crd = definition(own, "virtualservices.networking.istio.io")
    async with serving(own.kubeconfig()) as running:
        await asyncio.to_thread(undefine, own, "virtualservices.networking.istio.io")
        create(own, namespace, service("later"))
        await seen(running, "Service", namespace, "later", "reviews")
        assert await names(running, "VirtualService", namespace) == {"r"}

        await asyncio.to_thread(define, own, crd)
        create(own, namespace, route("s"))

        await seen(running, "VirtualService", namespace, "r", "s", within_s=5)


def test_a_kubeconfig_that_cannot_be_used_is_an_error_with_what_to_do(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "controlplane.cli.main", "serve", "--kubernetes", "--kubeconfig", str(tmp_path / "none")]

    ran = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)

    assert ran.returncode == 2
    assert "navarch: the kubeconfig" in ran.stderr
    assert "--kubeconfig" in ran.stderr
    assert "Traceback" not in ran.stderr


async def test_a_node_says_where_the_endpoints_on_it_are(own: ApiServer) -> None:
    namespace = own.namespace("zones")
    create(own, namespace, service("one"))
    machine = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1", "labels": {"topology.kubernetes.io/region": "north"}}}
    own.call("POST", "/api/v1/nodes", machine)
    path = f"/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices"
    own.call("POST", path, endpoint_slice("10.9.9.9", nodeName="n1"))
    node = f"sidecar~10.0.0.1~web.{namespace}~{namespace}.svc.cluster.local"
    async with serving(own.kubeconfig()) as running, delta(running.at.xds) as call:
        await call.write(delta_request(EDS, node=node, names=(f"outbound|80||one.{namespace}.svc.cluster.local",)))
        first = await next_delta(call)
        assert locality(first) == ("north", "")
        await call.write(delta_request(EDS, nonce=first.nonce))

        labels = {"metadata": {"labels": {"topology.kubernetes.io/zone": "n1"}}}
        own.call("PATCH", "/api/v1/nodes/n1", labels, "application/merge-patch+json")

        assert locality(await next_delta(call)) == ("north", "n1")


def locality(answer: DeltaDiscoveryResponse) -> tuple[str, str]:
    """Return region and zone of the first endpoints of ``answer``."""
    assignment = ClusterLoadAssignment.FromString(answer.resources[0].resource.value)
    found = assignment.endpoints[0].locality
    return found.region, found.zone
