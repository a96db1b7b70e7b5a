"""The API server asks the webhooks about what they decide on, and never about what they need themselves."""

from __future__ import annotations

from itertools import product

import pytest

from controlplane.inject.pod import candidate_pod as read_pod
from controlplane.inject.policy import PodNamespace, reason_not_to_inject
from controlplane.model.proxies import IGNORED_NAMESPACES
from controlplane.settings import InjectionSettings
from controlplane.webhooks.mutate import INJECT_NAMESPACE_PATH, INJECT_PATH
from tests.support.rendered_manifests import SETS, Json, at, objects, only, ports, words

OWN = {"kube-system", "navarch-system"}

every_set = pytest.mark.parametrize("of", SETS)


def hooks(of: str) -> dict[str, tuple[Json, ...]]:
    """Return the webhooks of the set ``of``: those that validate, and those that inject."""
    kinds = {"navarch-validator": "ValidatingWebhookConfiguration", "navarch-injector": "MutatingWebhookConfiguration"}
    return {name: objects(only(of, kind, name)["webhooks"]) for name, kind in kinds.items()}


@every_set
def test_t65_no_webhook_stands_in_its_own_way(of: str) -> None:
    for webhook in (each for found in hooks(of).values() for each in found):
        beside, *_ = objects(at(webhook, "namespaceSelector", "matchExpressions"))
        assert (beside["key"], beside["operator"]) == ("kubernetes.io/metadata.name", "NotIn")
        assert set(words(beside["values"])) >= OWN
        assert webhook["failurePolicy"] == "Ignore"
        assert at(webhook, "timeoutSeconds") == 5
        assert webhook["sideEffects"] == "None"
        assert "caBundle" not in objects([webhook["clientConfig"]])[0]


@every_set
def test_pods_are_asked_about_where_the_offline_decision_may_say_yes_and_by_the_path_that_says_why(of: str) -> None:
    settings = InjectionSettings()
    switches, revisions = (None, "enabled", "disabled"), (None, "default", "canary")
    for switch, revision, pod_switch, pod_revision in product(switches, revisions, (None, "true", "false"), revisions):
        of_namespace = labelled({"istio-injection": switch, "istio.io/rev": revision, "kubernetes.io/metadata.name": "shop"})
        of_pod = labelled({"sidecar.istio.io/inject": pod_switch, "istio.io/rev": pod_revision})
        data: Json = {"metadata": {"labels": of_pod}, "spec": {"containers": [{"name": "web"}]}}

        verdict = reason_not_to_inject(read_pod(data, "shop"), PodNamespace("shop", of_namespace), settings)

        called = [each for each in hooks(of)["navarch-injector"] if selects(each, of_namespace, of_pod)]
        assert len(called) == (verdict is None), (of_namespace, of_pod, verdict)
        paths = {at(each, "clientConfig", "service", "path") for each in called}
        assert paths <= {INJECT_NAMESPACE_PATH if switch or revision else INJECT_PATH}


@every_set
def test_nothing_is_asked_about_pods_where_nothing_is_injected(of: str) -> None:
    for name in IGNORED_NAMESPACES:
        asking = {"istio-injection": "enabled", "kubernetes.io/metadata.name": name}
        assert [each["name"] for each in hooks(of)["navarch-injector"] if selects(each, asking, {"sidecar.istio.io/inject": "true"})] == []


def labelled(said: dict[str, str | None]) -> dict[str, str]:
    """Return the labels that are ``said``."""
    return {name: value for name, value in said.items() if value is not None}


def selects(webhook: Json, namespace: dict[str, str], labels: dict[str, str]) -> bool:
    """Return whether the API server would call ``webhook`` for a pod with ``labels`` in a namespace with others."""
    return all(
        holds(each, found)
        for name, found in (("namespaceSelector", namespace), ("objectSelector", labels))
        for each in objects(at(webhook, name, "matchExpressions"))
    )


def holds(requirement: Json, labels: dict[str, str]) -> bool:
    """Return whether ``labels`` meet ``requirement``."""
    value, values = labels.get(str(requirement["key"])), requirement.get("values")
    match requirement["operator"]:
        case "In":
            return value in words(values)
        case "NotIn":
            return value not in words(values)
        case "DoesNotExist":
            return value is None
        case _:
            raise AssertionError(requirement)


@every_set
def test_the_webhooks_call_the_port_that_serves_them(of: str) -> None:
    for webhook in (each for found in hooks(of).values() for each in found):
        service = at(webhook, "clientConfig", "service")
        assert (at(service, "name"), at(service, "namespace"), at(service, "port")) == ("navarch", "navarch-system", 15017)
    assert ports(of)["webhook"] == 15017
