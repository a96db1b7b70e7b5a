"""The gateway that is installed in a cluster: what its parts say of each other, and what injection makes of its pods."""

from __future__ import annotations

import json

from controlplane.inject.decision import Namespace
from controlplane.inject.injection import Injected, Mesh, inject
from controlplane.settings import InjectionSettings
from tests.kube.rendered import Json, at, objects, only, rendered, words

SET, NAME, NAMESPACE = "gateway", "istio-ingressgateway", "istio-ingress"


def part(kind: str, name: str = NAME) -> Json:
    return only(SET, kind, name)


def filled_in() -> Json:
    """Return the pod that injection makes of the Deployment's."""
    labels = at(part("Namespace", NAMESPACE), "metadata", "labels")
    assert isinstance(labels, dict)
    template = at(part("Deployment"), "spec", "template")
    assert isinstance(template, dict)
    found = inject({"apiVersion": "v1", "kind": "Pod", **template}, Namespace(NAMESPACE, labels), Mesh(settings=InjectionSettings()), NAME)
    assert isinstance(found, Injected), found
    assert found.warnings == ()
    return found.pod


def test_ports_of_the_service_are_ports_of_the_pod_that_need_no_privilege() -> None:
    offered = {each["port"]: each["targetPort"] for each in objects(at(part("Service"), "spec", "ports"))}
    [container] = objects(at(filled_in(), "spec", "containers"))

    open_there = {each["containerPort"] for each in objects(container["ports"])}
    assert offered == {80: 8080, 443: 8443, 15021: 15021}
    assert set(offered.values()) < open_there == {8080, 8443, 15021, 15090}


def test_every_selector_finds_the_pods() -> None:
    labels = at(filled_in(), "metadata", "labels")
    assert isinstance(labels, dict)
    selectors = [at(part("Service"), "spec", "selector"), at(part("Deployment"), "spec", "selector", "matchLabels")]
    selectors += [at(part("PodDisruptionBudget"), "spec", "selector", "matchLabels")]
    selectors += [at(each, "labelSelector", "matchLabels") for each in objects(at(filled_in(), "spec", "topologySpreadConstraints"))]

    assert all(isinstance(each, dict) and each.items() <= labels.items() for each in selectors)
    assert at(part("HorizontalPodAutoscaler"), "spec", "scaleTargetRef", "name") == at(part("Deployment"), "metadata", "name")


def test_the_pod_is_a_router_without_privilege_that_has_time_to_drain() -> None:
    pod = filled_in()
    [container] = objects(at(pod, "spec", "containers"))
    told = json.loads(words(container["args"])[1])
    security = container["securityContext"]

    assert told["node"]["id"].startswith("router~")
    assert "initContainers" not in objects([pod["spec"]])[0]
    assert (at(security, "runAsNonRoot"), at(security, "allowPrivilegeEscalation"), at(security, "readOnlyRootFilesystem")) == (
        True,
        False,
        True,
    )
    assert at(security, "capabilities") == {"drop": ["ALL"]}
    assert '"fixed_delay":"25s"' in json.dumps(told, separators=(",", ":"))
    assert at(pod, "spec", "terminationGracePeriodSeconds") == 40
    assert at(pod, "spec", "automountServiceAccountToken") is False
    assert at(container, "readinessProbe", "httpGet", "port") == 15021


def test_accounts_may_list_secrets_of_the_gateways_namespace_and_nothing_else() -> None:
    granted = [
        (at(each, "metadata", "namespace"), at(each, "roleRef", "kind"), at(each, "roleRef", "name"), at(each, "subjects", 0, "name"))
        for each in rendered(SET)
        if each["kind"] == "RoleBinding"
    ]

    assert sorted(map(str, granted)) == sorted(
        map(str, [(NAMESPACE, "Role", NAME, NAME), (NAMESPACE, "ClusterRole", "navarch-secrets", "navarch")])
    )
    assert part("Role")["rules"] == [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["list"]}]
    assert {each["kind"] for each in rendered(SET)} & {"ClusterRole", "ClusterRoleBinding", "Secret"} == set()
