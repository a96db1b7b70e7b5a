"""The gateway that is installed in a cluster: what its parts say of each other, and what injection makes of its pods."""

from __future__ import annotations

import json

from tests.support.rendered_manifests import GATEWAY, GATEWAY_NAME, GATEWAY_NAMESPACE, Json, at, gateway_pod, objects, only, rendered, words


def part(kind: str) -> Json:
    return only(GATEWAY, kind, GATEWAY_NAME)


def test_ports_of_the_service_are_ports_of_the_pod_that_need_no_privilege() -> None:
    offered = {each["port"]: each["targetPort"] for each in objects(at(part("Service"), "spec", "ports"))}
    [container] = objects(at(gateway_pod(), "spec", "containers"))

    open_there = {each["containerPort"] for each in objects(container["ports"])}
    assert offered == {80: 8080, 443: 8443, 15021: 15021}
    assert set(offered.values()) < open_there == {8080, 8443, 15021, 15090}


def test_every_selector_finds_the_pods() -> None:
    labels = at(gateway_pod(), "metadata", "labels")
    assert isinstance(labels, dict)
    selectors = [at(part("Service"), "spec", "selector"), at(part("Deployment"), "spec", "selector", "matchLabels")]
    selectors += [at(part("PodDisruptionBudget"), "spec", "selector", "matchLabels")]
    selectors += [at(each, "labelSelector", "matchLabels") for each in objects(at(gateway_pod(), "spec", "topologySpreadConstraints"))]

    assert all(isinstance(each, dict) and each.items() <= labels.items() for each in selectors)
    assert at(part("HorizontalPodAutoscaler"), "spec", "scaleTargetRef", "name") == at(part("Deployment"), "metadata", "name")


def test_the_pod_is_a_router_without_privilege_that_has_time_to_drain() -> None:
    pod = gateway_pod()
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
        for each in rendered(GATEWAY)
        if each["kind"] == "RoleBinding"
    ]

    assert sorted(map(str, granted)) == sorted(
        map(
            str, [(GATEWAY_NAMESPACE, "Role", GATEWAY_NAME, GATEWAY_NAME), (GATEWAY_NAMESPACE, "ClusterRole", "navarch-secrets", "navarch")]
        )
    )
    assert part("Role")["rules"] == [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["list"]}]
    assert {each["kind"] for each in rendered(GATEWAY)} & {"ClusterRole", "ClusterRoleBinding", "Secret"} == set()
