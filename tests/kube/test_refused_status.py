"""A status that the API server does not take, for a policy or for want of a right: the others are written all the same."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import urllib.error
from collections.abc import AsyncIterator, Iterator, Sequence

import pytest
import pytest_asyncio

from controlplane.untyped import Json, items, section, text
from tests.support.cluster import Cluster
from tests.support.control_plane import Running
from tests.support.kube_control_plane import serving
from tests.support.kube_objects import NETWORKING, create, route, service
from tests.support.waiting import at_most, until
from tests.support.with_cluster import knowing_our_kinds

pytestmark = pytest.mark.asyncio(loop_scope="module")

ADMISSION = "/apis/admissionregistration.k8s.io/v1"
RBAC = "/apis/rbac.authorization.k8s.io/v1"
OLD = [f"old-{number:02}" for number in range(60)]


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    cluster = knowing_our_kinds(tmp_path_factory.mktemp("own"))
    cluster.namespace("navarch-system")
    yield cluster
    cluster.stop()


async def told(cluster: Cluster, namespace: str) -> set[str]:
    """Return the routes whose status says that they are accepted."""
    found = await asyncio.to_thread(cluster.call, "GET", f"{NETWORKING}/namespaces/{namespace}/virtualservices")
    return {text(section(each, "metadata"), "name") for each in items(found) if items(section(each, "status"), "conditions")}


async def told_at_last(cluster: Cluster, namespace: str, names: Sequence[str], within_s: float = 30.0) -> None:
    """Wait until exactly the routes ``names`` are told of."""

    async def are() -> bool:
        return await told(cluster, namespace) == set(names)

    try:
        await until(are, deadline_s=at_most(within_s))
    except TimeoutError:
        raise AssertionError(await told(cluster, namespace)) from None


async def unwritten(running: Running) -> set[str]:
    """Return the objects of which a Problem says that their status is not taken."""
    rows = await running.json("/v1/problems")
    assert isinstance(rows, list)
    return {str(row["object"]).rpartition("/")[2] for row in rows if row["code"] == "StatusNotWritten"}


async def gauge(running: Running) -> int:
    _, page = await running.get("/metrics")
    found = re.search(r"^navarch_kubernetes_status_unwritten (\S+)$", page, re.MULTILINE)
    assert found
    return int(float(found[1]))


@pytest_asyncio.fixture(loop_scope="module")
async def locked(own: Cluster) -> AsyncIterator[None]:
    """Have a policy that lets nobody write the status of routes whose name ends with -locked, and wait until it is in force."""
    constraints = {
        "resourceRules": [
            {
                "apiGroups": ["networking.istio.io"],
                "apiVersions": ["*"],
                "operations": ["UPDATE"],
                "resources": ["virtualservices/status"],
            }
        ]
    }
    rule = {"expression": "!object.metadata.name.endsWith('-locked')", "message": "nobody writes this"}
    policy = {"metadata": {"name": "locked"}, "spec": {"matchConstraints": constraints, "validations": [rule]}}
    binding = {"metadata": {"name": "locked"}, "spec": {"policyName": "locked", "validationActions": ["Deny"]}}
    own.call("POST", f"{ADMISSION}/validatingadmissionpolicies", policy)
    own.call("POST", f"{ADMISSION}/validatingadmissionpolicybindings", binding)
    create(own, own.namespace("probe"), route("probe-locked"))

    def in_force() -> bool:
        path = f"{NETWORKING}/namespaces/probe/virtualservices/probe-locked/status"
        try:
            own.call("PATCH", path, {"status": {"observedGeneration": 1}}, "application/merge-patch+json")
        except urllib.error.HTTPError:
            return True
        return False

    await until(lambda: asyncio.to_thread(in_force), "the policy is in force")
    own.call("DELETE", f"{NETWORKING}/namespaces/probe/virtualservices/probe-locked")
    yield
    for kind in ("validatingadmissionpolicybindings", "validatingadmissionpolicies"):
        own.call("DELETE", f"{ADMISSION}/{kind}/locked")


async def test_one_that_a_policy_refuses_keeps_no_other_from_being_told(
    own: Cluster, locked: None, caplog: pytest.LogCaptureFixture
) -> None:
    namespace = own.namespace("policy")
    create(own, namespace, service("reviews"), *(route(name) for name in OLD), route("new-locked"))  # the newest of all
    with caplog.at_level(logging.WARNING):
        async with serving(own.kubeconfig()) as running:
            await told_at_last(own, namespace, OLD)

            assert await unwritten(running) == {"new-locked"}
            assert await gauge(running) == 1
            create(own, namespace, route("later"), route("later-locked"))
            await told_at_last(own, namespace, [*OLD, "later"])
            await until(lambda: two_unwritten(running))
    refused = [record for record in caplog.records if record.message == "status refused"]
    assert len(refused) == 1
    assert "nobody writes this" in str(refused[0].__dict__["reason"])


async def two_unwritten(running: Running) -> bool:
    return await unwritten(running) == {"new-locked", "later-locked"} and await gauge(running) == 2


async def test_a_right_that_is_missing_is_told_once_and_what_is_owed_is_written_when_it_is_there(
    own: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    namespace = own.namespace("rights")
    own.call("POST", "/api/v1/namespaces/navarch-system/serviceaccounts", {"metadata": {"name": "weak"}})
    all_but = [
        {"apiGroups": ["*"], "resources": ["*"], "verbs": ["get", "list", "watch"]},
        {"apiGroups": ["coordination.k8s.io", "events.k8s.io", ""], "resources": ["*"], "verbs": ["*"]},
        {"apiGroups": ["networking.istio.io"], "resources": ["destinationrules/status"], "verbs": ["patch"]},
    ]
    subject = {"kind": "ServiceAccount", "name": "weak", "namespace": "navarch-system"}
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "weak"}
    own.call("POST", f"{RBAC}/clusterroles", {"metadata": {"name": "weak"}, "rules": all_but})
    own.call("POST", f"{RBAC}/clusterrolebindings", {"metadata": {"name": "weak"}, "roleRef": role, "subjects": [subject]})
    rule: Json = {
        "apiVersion": "networking.istio.io/v1",
        "kind": "DestinationRule",
        "metadata": {"name": "reviews"},
        "spec": {"host": "reviews"},
    }
    create(own, namespace, service("reviews"), rule, *(route(name) for name in OLD))

    async def rule_is_told() -> bool:
        found = await asyncio.to_thread(own.call, "GET", f"{NETWORKING}/namespaces/{namespace}/destinationrules/reviews")
        return bool(items(section(found, "status"), "conditions"))

    with caplog.at_level(logging.INFO):
        async with serving(own.account("navarch-system", "weak"), namespaces=(namespace,)) as running:
            await until(rule_is_told, deadline_s=at_most(15))
            await until(lambda: all_unwritten(running))
            assert await told(own, namespace) == set()

            given = {"apiGroups": ["networking.istio.io"], "resources": ["virtualservices/status"], "verbs": ["patch"]}
            own.call("PATCH", f"{RBAC}/clusterroles/weak", {"rules": [*all_but, given]}, "application/merge-patch+json")
            await told_at_last(own, namespace, OLD, 90.0)
            await until(lambda: none_unwritten(running))
    said = [record.message for record in caplog.records if record.message in ("status refused", "status is taken again")]
    assert said == ["status refused", "status is taken again"]


async def all_unwritten(running: Running) -> bool:
    return await unwritten(running) == set(OLD) and await gauge(running) == len(OLD)


async def none_unwritten(running: Running) -> bool:
    return not await unwritten(running)


async def test_replicas_tell_each_other_little_however_many_objects_there_are(own: Cluster) -> None:
    namespace = own.namespace("many")
    create(
        own,
        namespace,
        service("reviews"),
        *(route(f"route-with-a-long-name-{number:03}", f"host-{number}.example") for number in range(300)),
    )
    names = [f"route-with-a-long-name-{number:03}" for number in range(300)]
    async with serving(own.kubeconfig(), namespaces=(namespace,), pod="teller"):
        await told_at_last(own, namespace, names, 60.0)

        async def is_small() -> bool:
            found = await asyncio.to_thread(own.call, "GET", "/api/v1/namespaces/navarch-system/configmaps/navarch-fleet-teller")
            return len(json.dumps(found["data"])) < 1000

        await until(is_small, deadline_s=at_most(10))
