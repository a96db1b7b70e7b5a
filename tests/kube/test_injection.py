"""The injecting webhook: called by a real API server, whose own validation every injected pod passes."""

from __future__ import annotations

import asyncio
import contextlib
import json
import urllib.error
from collections.abc import AsyncIterator, Iterator

import pytest
import yaml

from controlplane.inject.inject import Injected, InjectionContext, inject
from controlplane.inject.manifests import ManifestFile, NamespaceDefaults
from controlplane.inject.manifests import inject_manifests as injected_manifests
from controlplane.inject.policy import PodNamespace
from controlplane.settings import InjectionSettings
from controlplane.untyped import Json, items, section
from tests.support.cluster import Cluster
from tests.support.control_plane import Running
from tests.support.inject_cases import Case, cases, named
from tests.support.kube_control_plane import serving
from tests.support.rendered_manifests import MANIFESTS
from tests.support.waiting import until
from tests.support.webhook_client import ANYWHERE, Asker, listening

HOOKS = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations"
NAMESPACES: dict[str, dict[str, str]] = {
    "shop": {"istio-injection": "enabled"},
    "by-revision": {"istio.io/rev": "default"},
    "silent": {},
    "without": {"istio-injection": "disabled"},
}


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    cluster = Cluster(tmp_path_factory.mktemp("own"), controllers=False)
    cluster.namespace("navarch-system")
    for name, labels in NAMESPACES.items():
        body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}
        cluster.call("POST", "/api/v1/namespaces", body)
    yield cluster
    cluster.stop()


def a_pod(name: str, **labels: str) -> Json:
    probe = {"httpGet": {"path": "/ready", "port": "http"}}
    container = {"name": "web", "image": "web:1", "ports": [{"name": "http", "containerPort": 8080}], "readinessProbe": probe}
    metadata = {"name": name, "labels": {"app": "web", **labels}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"serviceAccountName": "default", "containers": [container]}}


def made(cluster: Cluster, namespace: str, pod: Json) -> Json:
    """Return ``pod`` as the API server would store it; the test fails where it would not. What names accounts is switched off."""
    named_account = {**pod, "spec": {"serviceAccountName": "default", **section(pod, "spec")}}
    try:
        return cluster.call("POST", f"/api/v1/namespaces/{namespace}/pods?dryRun=All", named_account)
    except urllib.error.HTTPError as error:
        raise AssertionError(json.loads(error.read())["message"]) from error


def has_proxy(pod: Json) -> bool:
    return any(each["name"] == "istio-proxy" for each in items(section(pod, "spec"), "initContainers"))


def configuration(port: str) -> Json:
    """Return the configuration of the manifests, with the webhook on this machine."""
    [found] = [each for each in yaml.safe_load_all((MANIFESTS / "base" / "injection.yaml").read_text()) if each]
    assert isinstance(found, dict)
    for each in found["webhooks"]:
        each["clientConfig"] = {"url": f"https://localhost:{port}{each['clientConfig']['service']['path']}"}
    return found


@pytest.mark.parametrize("case", [each for each in cases() if isinstance(each.outcome, Injected)], ids=lambda case: case.name)
def test_the_api_server_takes_every_injected_pod(own: Cluster, case: Case) -> None:
    outcome = case.outcome
    assert isinstance(outcome, Injected)

    stored = made(own, "silent", outcome.pod)

    assert named(stored, "istio-proxy")["args"] == named(outcome.pod, "istio-proxy")["args"]


WORKLOADS = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: cart}
spec:
  selector: {matchLabels: {app: cart}}
  template:
    metadata: {labels: {app: cart}}
    spec: {containers: [{name: cart, image: cart, livenessProbe: {tcpSocket: {port: 80}}}]}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db}
spec:
  serviceName: db
  selector: {matchLabels: {app: db}}
  template:
    metadata: {labels: {app: db}}
    spec: {containers: [{name: db, image: db, readinessProbe: {grpc: {port: 80}}}]}
---
apiVersion: batch/v1
kind: CronJob
metadata: {name: report}
spec:
  schedule: "0 4 * * *"
  jobTemplate: {spec: {template: {spec: {restartPolicy: Never, containers: [{name: report, image: report}]}}}}
---
apiVersion: v1
kind: Service
metadata: {name: cart}
spec: {selector: {app: cart}, ports: [{port: 80}]}
"""


def test_the_api_server_takes_injected_manifests_as_they_are_printed(own: Cluster) -> None:
    done = injected_manifests(
        [ManifestFile("workloads.yaml", WORKLOADS)], InjectionContext(settings=InjectionSettings()), NamespaceDefaults()
    )

    said = own.kubectl("-n", "silent", "apply", "--dry-run=server", "-f", "-", stdin=done.text)

    assert done.problems == ()
    assert done.text.count("name: istio-proxy") == 3
    made = [
        f"{each} created (server dry run)"
        for each in ("deployment.apps/cart", "statefulset.apps/db", "cronjob.batch/report", "service/cart")
    ]
    assert sorted(line for line in said.splitlines() if "created" in line) == sorted(made)


async def injected(cluster: Cluster, namespace: str, **labels: str) -> bool:
    """Return whether a pod with ``labels`` gets a proxy in ``namespace``."""
    return has_proxy(await asyncio.to_thread(made, cluster, namespace, a_pod("web", **labels)))


async def registered(cluster: Cluster, policy: str) -> bool:
    """Return whether the API server knows whom to trust in all of the webhooks, and what to do where they are not reached."""
    found = items(await asyncio.to_thread(cluster.call, "GET", f"{HOOKS}/navarch-injector"), "webhooks")
    return all(section(each, "clientConfig").get("caBundle") and each["failurePolicy"] == policy for each in found)


@contextlib.asynccontextmanager
async def hooked(cluster: Cluster) -> AsyncIterator[Running]:
    """Serve, with the webhooks registered, until the block ends."""
    async with serving(cluster.kubeconfig(), webhook=ANYWHERE) as running:
        assert running.at.webhook
        await asyncio.to_thread(cluster.call, "POST", HOOKS, configuration(running.at.webhook.rpartition(":")[2]))
        try:
            await until(lambda: injected(cluster, "shop"))  # the API server takes a moment to know the new authority
            await until(lambda: registered(cluster, "Fail"))
            yield running
        finally:
            await asyncio.to_thread(cluster.call, "DELETE", f"{HOOKS}/navarch-injector")


async def test_pods_made_plain_come_back_injected(own: Cluster) -> None:
    asks, declines, canary = {"sidecar.istio.io/inject": "true"}, {"sidecar.istio.io/inject": "false"}, {"istio.io/rev": "canary"}
    async with hooked(own) as running:
        found = {
            name: [await injected(own, name, **each) for each in ({}, asks, declines, canary)] for name in (*NAMESPACES, "navarch-system")
        }
        stored = await asyncio.to_thread(made, own, "shop", a_pod("web"))
        _, metrics = await running.get("/metrics")

    assert found["shop"] == found["by-revision"] == [True, True, False, True]
    assert found["silent"] == [False, True, False, False]
    assert found["without"] == found["navarch-system"] == [False] * 4
    offline = inject(a_pod("web"), PodNamespace("shop", {"istio-injection": "enabled"}), InjectionContext(settings=InjectionSettings()))
    assert isinstance(offline, Injected)
    assert named(stored, "istio-proxy")["args"] == named(offline.pod, "istio-proxy")["args"]
    asked = {"path": "/app-health/web/readyz", "port": 15021, "scheme": "HTTP"}
    assert section(named(stored, "web"), "readinessProbe")["httpGet"] == asked
    assert 'navarch_webhook_reviews_total{answer="injected"}' in metrics


async def test_kubectl_is_told_what_is_wrong_and_what_is_in_vain(own: Cluster) -> None:
    pods = [a_pod("wrong"), a_pod("odd")]
    section(pods[0], "metadata")["annotations"] = {"sidecar.istio.io/proxyImage": "a b"}
    section(pods[1], "metadata")["annotations"] = {"sidecar.istio.io/other": "x"}

    async with hooked(own):
        create = ("-n", "shop", "create", "-f", "-")
        wrong, odd = [await asyncio.to_thread(own.kubectl, *create, stdin=json.dumps(each), check=False) for each in pods]

    assert "denied the request: annotation sidecar.istio.io/proxyImage: expected the name of an image" in wrong
    assert "Warning: annotation sidecar.istio.io/other has no effect" in odd
    assert "pod/odd created" in odd


async def test_t64_the_registration_is_repaired_and_t65_closes_only_what_wants_proxies(own: Cluster) -> None:
    async with hooked(own):
        found = await asyncio.to_thread(own.call, "GET", f"{HOOKS}/navarch-injector")
        for each in items(found, "webhooks"):
            each["failurePolicy"] = "Ignore"
            del section(each, "clientConfig")["caBundle"]
        await asyncio.to_thread(own.call, "PUT", f"{HOOKS}/navarch-injector", found)
        await until(lambda: registered(own, "Fail"))
        left = await asyncio.to_thread(own.call, "GET", f"{HOOKS}/navarch-injector")

    del section(left, "metadata")["resourceVersion"]
    own.call("POST", HOOKS, left)  # and nobody is there
    with pytest.raises(AssertionError, match="failed calling webhook"):
        made(own, "shop", a_pod("web"))
    assert not any(has_proxy(made(own, name, a_pod("web"))) for name in ("silent", "without", "navarch-system", "kube-system"))
    own.call("DELETE", f"{HOOKS}/navarch-injector")


async def test_t64_a_new_certificate_fails_no_admission(own: Cluster) -> None:
    secret = "/api/v1/namespaces/navarch-system/secrets/navarch-webhook-cert"
    async with hooked(own), serving(own.kubeconfig(), webhook=ANYWHERE, pod="another"):
        before = section(await asyncio.to_thread(own.call, "GET", secret), "data")
        spoiled = {"data": {"tls.key": ""}}  # whoever sees it first makes another
        await asyncio.to_thread(own.call, "PATCH", secret, spoiled, "application/merge-patch+json")
        answers: list[bool] = []

        async def replaced() -> bool:
            answers.append(await injected(own, "shop"))
            found = section(await asyncio.to_thread(own.call, "GET", secret), "data")
            return found["tls.crt"] != before["tls.crt"] and found["ca.crt"] == before["ca.crt"]

        await until(replaced)
        looked = asyncio.get_running_loop().time() + 3  # by then both replicas have looked
        while asyncio.get_running_loop().time() < looked:
            answers.append(await injected(own, "shop"))

    print(f"{len(answers)} admissions, {answers.count(False)} of them failed")
    assert answers.count(False) == 0


async def test_s45_pods_are_answered_beside_noise_and_what_is_too_large_is_not_read(own: Cluster) -> None:
    async with serving(own.kubeconfig(), webhook=ANYWHERE) as running:
        await listening(own)
        ask = Asker(own, running)

        def review(value: object, **more: object) -> bytes:
            kind = {"group": "", "version": "v1", "kind": "Pod"}
            request = {"uid": "u", "operation": "CREATE", "kind": kind, "namespace": "shop", "object": value, **more}
            return json.dumps({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request}).encode()

        async def asked(body: bytes, path: str = "/inject/namespace") -> tuple[int, Json]:
            status, answer = await asyncio.to_thread(ask, body, path=path)
            assert isinstance(answer, dict)
            return status, section(answer, "response")

        assert [(await asked(body))[0] for body in (b"\x00noise", b"[]", review(None), b" " * (7 << 20))] == [400, 400, 400, 413]
        assert (await asked(review(a_pod("web")), "/inject/else"))[0] == 404
        odd = [{"spec": 1}, {"metadata": [], "spec": {"containers": [1]}}, {"spec": {"containers": [{"name": "x" * 10_000}]}}]
        assert [(await asked(review(each)))[1]["allowed"] for each in odd] == [False] * 3
        others = [
            review(a_pod("web"), operation="DELETE"),
            review({}, kind={"group": "apps", "kind": "Deployment"}),
            review({}, subResource="exec"),
        ]
        assert [(await asked(each))[1] for each in others] == [{"uid": "u", "allowed": True}] * 3
        assert (await asked(review(a_pod("web")), "/inject"))[1] == {"uid": "u", "allowed": True}

        answers = await asyncio.gather(*(asked(review(a_pod("web"))) for _ in range(50)))

        assert {(status, answer["allowed"], answer["patchType"]) for status, answer in answers} == {(200, True, "JSONPatch")}


def proxy_config(name: str, **spec: object) -> Json:
    return {"apiVersion": "networking.istio.io/v1beta1", "kind": "ProxyConfig", "metadata": {"name": name}, "spec": spec}


async def test_a_pod_gets_what_proxyconfigs_say_when_it_is_made(own: Cluster) -> None:
    await asyncio.to_thread(own.kubectl, "apply", "-f", str(MANIFESTS / "crds"))
    everywhere = proxy_config("all", concurrency=2, environmentVariables={"TIER": "silver", "ISTIO_META_TEAM": "red"})
    of_web = proxy_config("web", selector={"matchLabels": {"app": "web"}}, concurrency=5, image={"imageType": "distroless"})

    async def threads(**labels: str) -> str:
        proxy = named(await asyncio.to_thread(made, own, "shop", a_pod("web", **labels)), "istio-proxy")
        arguments = [str(each) for each in proxy["args"]] if isinstance(proxy["args"], list) else []
        return arguments[arguments.index("--concurrency") + 1]

    async with hooked(own):
        for each in (everywhere, of_web):
            await asyncio.to_thread(own.kubectl, "-n", "shop", "apply", "-f", "-", stdin=json.dumps(each))

        async def holds() -> bool:
            return (await threads(), await threads(app="api")) == ("5", "2")

        await until(holds, "the webhook goes by both")
        proxy = named(await asyncio.to_thread(made, own, "shop", a_pod("web")), "istio-proxy")

    assert str(proxy["image"]).rpartition(":")[2].startswith("distroless-v")
    assert {"name": "TIER", "value": "silver"} in items(proxy, "env")
    assert '"TEAM":"red"' in str(proxy["args"])
