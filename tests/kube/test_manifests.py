"""What docs/install.md says happens on a real API server, by the commands it names."""

from __future__ import annotations

import json
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.cluster import Cluster
from tests.support.rbac_rights import Right, Use, rights, uses
from tests.support.rendered_manifests import (
    GATEWAY,
    GATEWAY_NAMESPACE,
    ROOT,
    SETS,
    Json,
    at,
    gateway_pod,
    objects,
    only,
    page_commands,
    rendered,
)
from tests.support.waiting import wait_until

ACCOUNT = "system:serviceaccount:navarch-system:navarch"
REVIEWS = {"authorization.k8s.io", "authentication.k8s.io"}  # of which all who are authenticated may ask some, of themselves
HOOKS = "validatingwebhookconfiguration,mutatingwebhookconfiguration"
NO_KUBELET = ("rollout status", "port-forward")  # no pod ever runs there
FOREIGN = ("manifests/crds",)  # the kinds have tests of their own, and other tests of this session use them


class Shell:
    """kubectl, as an administrator of ``cluster``, in the repository's top folder."""

    def __init__(self, cluster: Cluster) -> None:
        self.kubeconfig = cluster.kubeconfig()

    def __call__(self, *arguments: str, stdin: str | None = None, kubeconfig: str | Path | None = None) -> str:
        """Return what kubectl prints on both its outputs; the test fails where it exits with another code than 0."""
        ran = self.tried(*arguments, stdin=stdin, kubeconfig=kubeconfig)
        assert ran.returncode == 0, f"kubectl {shlex.join(arguments)}\n{ran.stdout}{ran.stderr}"
        return ran.stdout + ran.stderr

    def tried(self, *arguments: str, stdin: str | None = None, kubeconfig: str | Path | None = None) -> subprocess.CompletedProcess[str]:
        """Return how kubectl ended."""
        command = ["kubectl", "--kubeconfig", str(kubeconfig or self.kubeconfig), *arguments]
        return subprocess.run(command, cwd=ROOT, input=stdin, capture_output=True, text=True, timeout=300, check=False)


@pytest.fixture(scope="module")
def kubectl(cluster: Cluster) -> Iterator[Shell]:
    """Give kubectl, and take away at the end what this module has applied."""
    shell = Shell(cluster)
    shell("apply", "--server-side", "-f", "manifests/mesh")
    yield shell
    shell("delete", "-k", "manifests/overlays/ha", "--ignore-not-found")


def account(cluster: Cluster) -> str:
    """Return the path of a kubeconfig by which kubectl is Navarch's ServiceAccount."""
    return str(cluster.account("navarch-system", "navarch"))


def leader_takes_over(kubectl: Shell) -> str:
    """Change the webhook's configuration as the leader does, and return its authority."""
    authority = "TEVBREVS"
    found = json.loads(kubectl("get", "validatingwebhookconfiguration", "navarch-validator", "-o", "json"))
    found["webhooks"][0]["clientConfig"]["caBundle"] = authority
    found["webhooks"][0]["failurePolicy"] = "Fail"
    kubectl("replace", "--field-manager=navarch", "-f", "-", stdin=json.dumps(found))
    return authority


def webhook(kubectl: Shell) -> Json:
    """Return the one webhook as it is registered."""
    [found] = objects(json.loads(kubectl("get", "validatingwebhookconfiguration", "navarch-validator", "-o", "json"))["webhooks"])
    return found


@pytest.mark.parametrize("of", SETS)
def test_every_set_applies_without_a_warning(kubectl: Shell, of: str) -> None:
    said = kubectl("apply", "--server-side", "--force-conflicts", "-k", f"manifests/{of}").splitlines()

    assert len(said) == len(rendered(of))
    assert [line for line in said if not line.endswith(" serverside-applied")] == []


@pytest.mark.parametrize("of", SETS)
def test_pods_are_admitted_where_only_restricted_ones_are(kubectl: Shell, of: str) -> None:
    kubectl("apply", "--server-side", "--force-conflicts", "-k", f"manifests/{of}")
    template = at(only(of, "Deployment"), "spec", "template")
    labels, spec = at(template, "metadata", "labels"), at(template, "spec")
    metadata = {"name": "one", "namespace": "navarch-system", "labels": labels}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}
    assert isinstance(spec, dict)
    [container] = objects(spec["containers"])
    careless = {**pod, "spec": {**spec, "containers": [{**container, "securityContext": {"privileged": True}}]}}

    good = kubectl.tried("create", "--dry-run=server", "-f", "-", stdin=json.dumps(pod))
    bad = kubectl.tried("create", "--dry-run=server", "-f", "-", stdin=json.dumps(careless))

    assert (good.stdout, good.stderr) == ("pod/one created (server dry run)\n", "")
    assert 'violates PodSecurity "restricted' in bad.stderr


def test_the_gateway_applies_without_a_warning_and_its_pods_are_admitted(kubectl: Shell) -> None:
    kubectl("apply", "--server-side", "-k", "manifests/base")
    said = kubectl("apply", "--server-side", "-k", f"manifests/{GATEWAY}").splitlines()
    pod = gateway_pod()
    pod["metadata"] = {**objects([pod["metadata"]])[0], "name": "one", "namespace": GATEWAY_NAMESPACE}

    admitted = kubectl.tried("create", "--dry-run=server", "-f", "-", stdin=json.dumps(pod))
    kubectl("delete", "-k", f"manifests/{GATEWAY}")

    assert [line for line in said if not line.endswith(" serverside-applied")] == []
    assert (admitted.stdout, admitted.stderr) == ("pod/one created (server dry run)\n", "")


def test_the_autoscaler_decides_how_many_replicas_there_are_and_an_upgrade_leaves_that_to_it(kubectl: Shell) -> None:
    def replicas() -> str:
        return kubectl("-n", "navarch-system", "get", "deployment", "navarch", "-o", "jsonpath={.spec.replicas}")

    kubectl("apply", "--server-side", "--force-conflicts", "-k", "manifests/overlays/ha")
    wait_until(lambda: replicas() == "3", "there are as many replicas as the autoscaler has at least")
    kubectl("-n", "navarch-system", "scale", "deployment", "navarch", "--replicas=5")  # as the autoscaler does
    [upgrade] = [line for line in page_commands() if "--force-conflicts -k" in line]

    kubectl(*shlex.split(upgrade)[1:])

    assert replicas() == "5"


def test_an_upgrade_gets_past_what_the_leader_has_changed(kubectl: Shell) -> None:
    kubectl("apply", "--server-side", "--force-conflicts", "-k", "manifests/overlays/ha")
    authority = leader_takes_over(kubectl)
    [upgrade] = [line for line in page_commands() if "--force-conflicts -k" in line]

    kubectl(*shlex.split(upgrade)[1:])

    assert at(webhook(kubectl), "clientConfig", "caBundle") == authority
    assert webhook(kubectl)["failurePolicy"] == "Ignore"


def test_the_api_server_grants_what_the_manifests_are_read_to_grant(kubectl: Shell) -> None:
    kubectl("apply", "--server-side", "--force-conflicts", "-k", "manifests/base")
    review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectRulesReview", "spec": {"namespace": "navarch-system"}}
    said = json.loads(kubectl("create", "-f", "-", "-o", "json", f"--as={ACCOUNT}", stdin=json.dumps(review)))

    seen = {
        Right(verb, group, resource, name=name)
        for rule in said["status"]["resourceRules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
        for name in rule.get("resourceNames") or [""]
        if group not in REVIEWS
    }

    read = rights(rendered("base"), account="navarch", namespace="navarch-system")
    there = {Right(each.verb, each.group, each.resource, name=each.name) for each in read if each.namespace in {"", "navarch-system"}}
    assert seen == {each for each in there if each.group not in REVIEWS}


def test_the_audit_log_tells_what_the_account_did_and_was_refused(kubectl: Shell, cluster: Cluster) -> None:
    kubectl("apply", "--server-side", "--force-conflicts", "-k", "manifests/base")
    own = account(cluster)

    kubectl("get", "pods", "--all-namespaces", kubeconfig=own)
    kubectl("-n", "navarch-system", "create", "configmap", "navarch-fleet-x", kubeconfig=own)
    kubectl("-n", "navarch-system", "delete", "configmap", "navarch-fleet-x", "--wait=false", kubeconfig=own)
    refused = kubectl.tried("-n", "default", "get", "secret", "other", kubeconfig=own)

    done, forbidden = uses(cluster.audit, user=ACCOUNT)
    assert "forbidden" in refused.stderr
    assert {Use("list", "", "pods"), Use("create", "", "configmaps", "navarch-system")} <= done
    assert Use("delete", "", "configmaps", "navarch-system", "navarch-fleet-x") in done
    assert Use("get", "", "secrets", "default", "other") in forbidden
    assert Use("get", "", "secrets", "default", "other") not in done


def test_one_object_can_be_read_by_its_name_and_the_others_not(kubectl: Shell, cluster: Cluster) -> None:
    kubectl("apply", "--server-side", "--force-conflicts", "-k", "manifests/base")
    own = account(cluster)
    hooks = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations"
    maps = "/api/v1/namespaces/default/configmaps"

    kubectl("get", "--raw", f"{hooks}/navarch-validator", kubeconfig=own)
    kubectl("get", "--raw", f"{maps}?fieldSelector=metadata.name%3Distio-ca-root-cert", kubeconfig=own)
    others = [kubectl.tried("get", "--raw", path, kubeconfig=own).stderr for path in (hooks, maps)]

    done, forbidden = uses(cluster.audit, user=ACCOUNT)
    assert ["forbidden" in each for each in others] == [True, True]
    assert Use("get", "admissionregistration.k8s.io", "validatingwebhookconfigurations", name="navarch-validator") in done
    assert Use("list", "", "configmaps", "default", "istio-ca-root-cert") in done
    assert Use("list", "", "configmaps", "default") in forbidden


def test_every_command_of_the_page_does_what_it_says(kubectl: Shell) -> None:
    for line in page_commands():
        if not any(word in line for word in (*NO_KUBELET, *FOREIGN)):
            kubectl(*shlex.split(line)[1:])

    left = {each for each in kubectl("get", "namespaces", "-o", "name").split() if "system" in each}
    assert "namespace/istio-system" in left
    assert "namespace/navarch-system" not in left
    assert kubectl("get", f"{HOOKS},clusterrole,clusterrolebinding", "-o", "name").count("navarch") == 0
    assert kubectl("-n", "istio-system", "get", "role,rolebinding", "-o", "name").count("navarch") == 0
