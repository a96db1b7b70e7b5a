"""The validating webhook: asked by a real API server, and asked what nobody should ask."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from tests.support.cluster import Cluster
from tests.support.istio_cases import CASES, EXCEPTIONS, READ, placed
from tests.support.kube_control_plane import serving
from tests.support.kube_objects import HAS_CRDS, create, route, service
from tests.support.waiting import until
from tests.support.webhook_client import ANYWHERE, VALIDATORS, Asker, configuration, listening


def review(value: object, operation: str = "CREATE") -> bytes:
    request = {"uid": "u", "operation": operation, "object": value}
    return json.dumps({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request}).encode()


def allowed(answer: object) -> bool:
    assert isinstance(answer, dict)
    response = answer["response"]
    assert response["uid"] == "u"
    return bool(response["allowed"])


async def test_s45_noise_is_answered_with_words_and_what_is_too_large_is_not_read(own: Cluster) -> None:
    async with serving(own.kubeconfig(), webhook=ANYWHERE) as running:
        await listening(own)
        ask = Asker(own, running)

        async def status(body: bytes, **how: str) -> int:
            return (await asyncio.to_thread(ask, body, **how))[0]

        assert await status(b"{}", method="GET") == 405
        assert await status(b"{}", path="/else") == 404
        assert await status(b"{}", kind="text/yaml") == 415
        assert await status(b"\x00noise") == 400
        assert await status(b"[]") == 400
        assert await status(review(None)) == 400
        assert await status(json.dumps({"kind": "Pod"}).encode()) == 400
        assert await status(b" " * (7 << 20)) == 413
        good = review({**route("r"), "metadata": {"name": "r", "namespace": "x"}})
        answers = await asyncio.gather(*(asyncio.to_thread(ask, good) for _ in range(50)))
        assert [(code, allowed(answer)) for code, answer in answers] == [(200, True)] * 50


async def test_the_validation_cases_get_their_verdicts_from_the_webhook(own: Cluster) -> None:
    path = CASES / "validation" / "cases.json"
    if not path.exists():
        pytest.skip("not run: shared/cases is not here")
    cases = [case for case in json.loads(Path(path).read_text()) if case["name"] not in EXCEPTIONS]
    cases = [case for case in cases if case["target"].partition(".")[0] in READ]
    wrong: list[tuple[str, str, object]] = []
    async with serving(own.kubeconfig(), webhook=ANYWHERE) as running:
        await listening(own)
        ask = Asker(own, running)
        for case in cases:
            status, answer = await asyncio.to_thread(ask, review(placed(case["target"], case["spec"])))
            # A case that is valid with a warning says null.
            if status != 200 or allowed(answer) is not (case["valid"] is not False):
                wrong.append((case["target"], case["name"], answer))

    print(f"{len(cases)} cases, {len(wrong)} wrong")
    assert wrong == []


@HAS_CRDS
async def test_kubectl_is_refused_in_our_words_and_the_registration_is_kept_right(own: Cluster) -> None:
    namespace = own.namespace("asked")
    create(own, namespace, service("reviews"))
    async with serving(own.kubeconfig(), webhook=ANYWHERE) as running:
        assert running.at.webhook
        port = running.at.webhook.rpartition(":")[2]
        await asyncio.to_thread(own.call, "POST", VALIDATORS, configuration(port))

        async def registered(policy: str) -> bool:
            found = (await asyncio.to_thread(own.call, "GET", f"{VALIDATORS}/navarch-validator"))["webhooks"]
            assert isinstance(found, list)
            return bool(found[0]["clientConfig"].get("caBundle")) and found[0]["failurePolicy"] == policy

        await until(lambda: registered("Fail"))  # by a review that the control plane has asked for

        bad = route("r")
        two = [{"destination": {"host": "reviews"}, "weight": 0}, {"destination": {"host": "reviews"}, "weight": 0}]
        bad["spec"] = {"hosts": ["reviews"], "http": [{"route": two}]}

        async def refused() -> bool:
            said = await asyncio.to_thread(own.kubectl, "-n", namespace, "apply", "-f", "-", stdin=json.dumps(bad), check=False)
            return "denied the request" in said and "spec.http[0].route" in said

        assert await refused()

        found = await asyncio.to_thread(own.call, "GET", f"{VALIDATORS}/navarch-validator")
        hooks = found["webhooks"]
        assert isinstance(hooks, list)
        hooks[0]["failurePolicy"] = "Ignore"
        del hooks[0]["clientConfig"]["caBundle"]
        await asyncio.to_thread(own.call, "PUT", f"{VALIDATORS}/navarch-validator", found)
        await until(lambda: registered("Fail"))
        _, metrics = await running.get("/metrics")
    assert 'navarch_webhook_reviews_total{answer="refused"}' in metrics
    assert 'navarch_kubernetes_silence_seconds{resource="virtualservices"}' in metrics
    assert "navarch_kubernetes_leader 1.0" in metrics
    own.call("DELETE", f"{VALIDATORS}/navarch-validator")
