"""What became of an object stands in its status, on a real API server."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import pytest

from controlplane.envoy.type_urls import RDS
from controlplane.settings import JwksSettings, Settings
from tests.support.cluster import Cluster
from tests.support.control_plane import SotwCall, next_sotw, sotw, sotw_request
from tests.support.fakes.issuer import KEYS, Issuer
from tests.support.kube_control_plane import serving
from tests.support.kube_objects import HAS_CRDS, NETWORKING, create, route, service
from tests.support.processes import free_port
from tests.support.waiting import at_most, until

pytestmark = HAS_CRDS


Found = dict[str, dict[str, object]]


ROUTES = f"{NETWORKING}/namespaces/{{namespace}}/virtualservices"
POLICIES = "/apis/security.istio.io/v1/namespaces/{namespace}/authorizationpolicies"
ISSUERS = "/apis/security.istio.io/v1/namespaces/{namespace}/requestauthentications"


async def conditions(cluster: Cluster, namespace: str, name: str, path: str = ROUTES) -> Found:
    """Return the conditions of an object by their type, and the whole status as ``""``."""
    value = await asyncio.to_thread(cluster.call, "GET", f"{path.format(namespace=namespace)}/{name}")
    status = value.get("status") or {}
    assert isinstance(status, dict)
    return {"": status, **{each["type"]: each for each in status.get("conditions", [])}}


async def told(
    cluster: Cluster, namespace: str, name: str, holds: Callable[[Found], bool], within_s: float = 10.0, path: str = ROUTES
) -> Found:
    """Wait until the status of an object is as ``holds`` says, and return it."""

    async def does() -> bool:
        return holds(await conditions(cluster, namespace, name, path))

    try:
        await until(does, deadline_s=at_most(within_s))
    except TimeoutError:
        raise AssertionError(await conditions(cluster, namespace, name, path)) from None
    return await conditions(cluster, namespace, name, path)


async def judge(call: SotwCall, *, error: str = "") -> None:
    """Take the next response in, and accept it, or refuse it with ``error``."""
    response = await next_sotw(call)
    answer = sotw_request(RDS, nonce=response.nonce, version=response.version_info, names=("80",))
    if error:
        answer.version_info = ""
        answer.error_detail.code = 3
        answer.error_detail.message = error
    await call.write(answer)


async def _refuse_all(call: SotwCall) -> None:
    while True:
        await judge(call, error="no such thing")


async def test_s14_s15_an_object_that_is_refused_says_why_with_the_field_and_an_event(own: Cluster) -> None:
    namespace = own.namespace("refused")
    bad = route("r")
    two = [{"destination": {"host": "reviews"}, "weight": 0}, {"destination": {"host": "reviews"}, "weight": 0}]
    bad["spec"] = {"hosts": ["reviews"], "http": [{"route": two}]}
    create(own, namespace, service("reviews"), bad)
    began = time.monotonic()
    async with serving(own.kubeconfig()):
        found = await told(own, namespace, "r", lambda each: each.get("Accepted", {}).get("status") == "False", 20)

        print(f"told {time.monotonic() - began:.1f} s after the start")
        assert "spec.http[0].route" in str(found["Accepted"]["message"])
        assert found["Programmed"]["status"] == "False"
        assert str(found[""]["observedGeneration"]) == "1"

        async def event() -> bool:
            listed = await asyncio.to_thread(own.call, "GET", f"/apis/events.k8s.io/v1/namespaces/{namespace}/events")
            items = listed["items"]
            assert isinstance(items, list)
            return [each["regarding"]["name"] for each in items] == ["r"]

        await until(event, deadline_s=at_most(5))


async def test_programmed_counts_the_proxies_that_have_accepted_the_generation(own: Cluster) -> None:
    namespace = own.namespace("counted")
    create(own, namespace, service("reviews"), route("r"))
    async with serving(own.kubeconfig()) as running, sotw(running.at.xds) as call:
        await call.write(sotw_request(RDS, node=f"sidecar~10.0.0.1~web.{namespace}~{namespace}.svc.cluster.local", names=("80",)))
        await judge(call)
        done = await told(own, namespace, "r", lambda each: "1 of 1" in str(each.get("Programmed", {}).get("message")), 20)
        assert done["Programmed"]["status"] == "True"
        assert done["Reconciled"]["message"] == "1/1 proxies up to date."

        path = f"{NETWORKING}/namespaces/{namespace}/virtualservices/r"
        own.call("PATCH", path, route("r", timeout="9s"), "application/merge-patch+json")
        pending = await told(own, namespace, "r", lambda each: "0 of 1" in str(each.get("Programmed", {}).get("message")))
        assert pending["Programmed"]["reason"] == "Pending"
        await judge(call)
        await told(own, namespace, "r", lambda each: each["Programmed"]["status"] == "True" and str(each[""]["observedGeneration"]) == "2")


async def test_s16_an_envoy_that_refuses_shows_on_the_object_that_made_it(own: Cluster) -> None:
    namespace = own.namespace("nacked")
    create(own, namespace, service("reviews"), route("r"))
    async with serving(own.kubeconfig()) as running, sotw(running.at.xds) as call:
        await call.write(sotw_request(RDS, node=f"sidecar~10.0.0.1~web.{namespace}~{namespace}.svc.cluster.local", names=("80",)))
        refusing = asyncio.create_task(_refuse_all(call))  # whatever is tried instead, too

        found = await told(own, namespace, "r", lambda each: each.get("Programmed", {}).get("reason") == "Refused", 20)

        message = str(found["Programmed"]["message"])
        assert f"web.{namespace}" in message
        assert "refused RouteConfiguration 80" in message
        assert message.endswith("no such thing")
        refusing.cancel()


async def test_what_is_settled_is_not_written_again(own: Cluster) -> None:
    namespace = own.namespace("quiet")
    create(own, namespace, service("reviews"), route("r"))
    async with serving(own.kubeconfig()):
        await told(own, namespace, "r", lambda each: "Programmed" in each, 20)
    path = f"{NETWORKING}/namespaces/{namespace}/virtualservices/r"
    before = own.call("GET", path)

    async with serving(own.kubeconfig()):
        create(own, namespace, route("s", host="other"))
        await told(own, namespace, "s", lambda each: "Programmed" in each, 20)  # the newest first, then the others

    assert own.call("GET", path) == before


async def test_what_was_wrong_between_objects_is_told_no_more_when_another_object_mends_it(own: Cluster) -> None:
    namespace = own.namespace("mended")
    create(own, namespace, route("r"))
    async with serving(own.kubeconfig()):
        for name in ("r", "s", "t"):  # by when there is nothing new about the first
            create(own, namespace, *(() if name == "r" else (route(name, host=name),)))
            await told(own, namespace, name, lambda each: each.get("Accepted", {}).get("reason") == "UnknownHost", 20)

        create(own, namespace, service("reviews"))
        found = await told(own, namespace, "r", lambda each: each["Accepted"]["reason"] == "Accepted", 20)

    assert (found["Accepted"]["status"], found["Accepted"]["message"]) == ("True", "")


async def test_a_policy_that_cannot_be_used_says_what_stands_for_it(own: Cluster) -> None:
    namespace = own.namespace("closed")
    rule = {"from": [{"source": {"ipBlocks": ["10.0.0.0/88"]}}]}
    body = {"metadata": {"name": "lock"}, "spec": {"action": "DENY", "rules": [rule]}}
    own.call("POST", POLICIES.format(namespace=namespace), {"apiVersion": "security.istio.io/v1", "kind": "AuthorizationPolicy", **body})

    async with serving(own.kubeconfig()):
        found = await told(own, namespace, "lock", lambda each: "Programmed" in each, 20, POLICIES)

    assert [(found[name]["status"], found[name]["reason"]) for name in ("Accepted", "Programmed")] == [
        ("False", "OutOfRange"),
        ("False", "Closed"),
    ]
    assert "spec.rules[0].from[0].source.ipBlocks[0]" in str(found["Accepted"]["message"])
    assert "answers every request with 403" in str(found["Programmed"]["message"])


async def test_t46_that_an_issuer_s_keys_are_missing_is_told_and_that_they_have_come(own: Cluster) -> None:
    namespace, issuer, port = own.namespace("issuers"), Issuer(), free_port()
    rule = {"issuer": "https://issuer.example", "jwksUri": f"http://127.0.0.1:{port}{KEYS}"}
    body = {"metadata": {"name": "r"}, "spec": {"jwtRules": [rule]}}
    head = {"apiVersion": "security.istio.io/v1", "kind": "RequestAuthentication"}
    async with serving(own.kubeconfig(), more=Settings(jwks=JwksSettings(allow=("http://127.0.0.1",), refresh_s=5.0))):
        own.call("POST", ISSUERS.format(namespace=namespace), {**head, **body})
        await told(own, namespace, "r", lambda each: "cannot be fetched" in str(each.get("Accepted", {}).get("message")), 20, ISSUERS)

        async with issuer.published(port=port):
            found = await told(own, namespace, "r", lambda each: each["Accepted"]["message"] == "", 20, ISSUERS)
        await told(own, namespace, "r", lambda each: "those fetched last are used" in str(each["Accepted"]["message"]), 30, ISSUERS)

    assert (found["Accepted"]["status"], found["Accepted"]["reason"]) == ("True", "Accepted")


async def test_a_condition_of_somebody_else_without_a_reason_keeps_nothing_from_being_told(
    own: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    namespace = own.namespace("others")
    create(own, namespace, service("reviews"), route("reviews"))
    foreign = {"status": {"conditions": [{"type": "Theirs", "status": "False"}]}}
    path = f"{ROUTES.format(namespace=namespace)}/reviews/status"
    await asyncio.to_thread(own.call, "PATCH", path, foreign, "application/merge-patch+json")

    async with serving(own.kubeconfig()):
        found = await told(own, namespace, "reviews", lambda found: "Accepted" in found)
        assert found["Theirs"]["status"] == "False"

        create(own, namespace, route("later"))
        await told(own, namespace, "later", lambda found: "Accepted" in found)
    assert "status failed" not in caplog.text
