"""What is installed in a cluster is safe as rendered; no API server is needed to see that."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator

import pytest
import yaml
from typer import Context
from typer.core import TyperGroup
from typer.main import get_command

from controlplane.cli.main import app
from tests.support.rendered_manifests import (
    MANIFESTS,
    ROOT,
    SETS,
    arguments,
    at,
    container,
    objects,
    only,
    pod,
    ports,
    rendered,
    text,
    words,
)

VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]

every_set = pytest.mark.parametrize("of", SETS)


def strings(value: object) -> Iterator[str]:
    """Yield every string at or below ``value``."""
    match value:
        case str():
            yield value
        case dict():
            for each in value.values():
                yield from strings(each)
        case list():
            for each in value:
                yield from strings(each)
        case _:
            pass


@every_set
def test_what_runs_in_a_cluster_is_a_replica_by_the_name_of_its_pod(of: str) -> None:
    assert "--replica" in arguments(of)

    variables = {str(each["name"]): each for each in objects(container(of)["env"])}
    assert at(variables["POD_NAME"], "valueFrom", "fieldRef", "fieldPath") == "metadata.name"


@every_set
def test_containers_have_no_privilege_to_lose(of: str) -> None:
    security = container(of)["securityContext"]

    assert at(security, "runAsNonRoot") is True
    assert at(security, "privileged") is False
    assert at(security, "allowPrivilegeEscalation") is False
    assert at(security, "readOnlyRootFilesystem") is True
    assert at(security, "capabilities") == {"drop": ["ALL"]}


@every_set
def test_pods_run_as_an_unprivileged_user_under_seccomp(of: str) -> None:
    security = at(pod(of), "securityContext")

    assert at(security, "runAsNonRoot") is True
    assert at(security, "seccompProfile") == {"type": "RuntimeDefault"}
    for identity in ("runAsUser", "runAsGroup", "fsGroup"):
        number = at(security, identity)
        assert isinstance(number, int)
        assert number >= 10_000


@every_set
def test_pods_share_nothing_with_their_node(of: str) -> None:
    spec = pod(of)
    assert isinstance(spec, dict)

    assert not {"hostNetwork", "hostPID", "hostIPC", "initContainers", "ephemeralContainers"} & set(spec)
    assert [each for each in objects(spec["volumes"]) if "hostPath" in each] == []
    assert [each for each in objects(container(of)["ports"]) if "hostPort" in each] == []


@every_set
def test_the_token_is_projected_and_short_lived(of: str) -> None:
    spec = pod(of)
    [projected] = [each for each in objects(at(spec, "volumes")) if "projected" in each]
    [token] = [each["serviceAccountToken"] for each in objects(at(projected, "projected", "sources")) if "serviceAccountToken" in each]

    assert at(spec, "serviceAccountName") == "navarch"
    assert at(spec, "automountServiceAccountToken") is False
    assert only(of, "ServiceAccount")["automountServiceAccountToken"] is False
    assert at(token, "expirationSeconds") == 3600
    mounts = {each["name"]: each for each in objects(container(of)["volumeMounts"])}
    assert mounts[projected["name"]]["mountPath"] == "/var/run/secrets/kubernetes.io/serviceaccount"
    assert mounts[projected["name"]]["readOnly"] is True


@every_set
def test_the_namespace_admits_only_restricted_pods(of: str) -> None:
    labels = at(only(of, "Namespace", "navarch-system"), "metadata", "labels")

    assert [at(labels, f"pod-security.kubernetes.io/{mode}") for mode in ("enforce", "audit", "warn")] == ["restricted"] * 3


@every_set
def test_resources_are_asked_for_and_limited(of: str) -> None:
    resources = container(of)["resources"]

    assert all(at(resources, bound, what) for bound in ("requests", "limits") for what in ("cpu", "memory"))


@every_set
def test_only_readiness_asks_what_has_been_read(of: str) -> None:
    path = {name: at(container(of), f"{name}Probe", "httpGet", "path") for name in ("startup", "liveness", "readiness")}

    assert path == {"startup": "/healthz", "liveness": "/healthz", "readiness": "/readyz"}
    assert {at(container(of), f"{name}Probe", "httpGet", "port") for name in path} == {"health"}


@every_set
def test_a_roll_out_takes_no_replica_away_before_its_successor_is_ready(of: str) -> None:
    strategy = at(only(of, "Deployment"), "spec", "strategy", "rollingUpdate")
    grace = at(pod(of), "terminationGracePeriodSeconds")

    assert strategy == {"maxUnavailable": 0, "maxSurge": 1}
    assert isinstance(grace, int)
    assert grace >= 30


@pytest.mark.parametrize(("of", "replicas", "available"), [("base", 2, 1), ("overlays/dev", 1, None), ("overlays/ha", 3, 2)])
def test_a_drained_node_leaves_replicas(of: str, replicas: int, available: int | None) -> None:
    budgets = [each["spec"] for each in rendered(of) if each["kind"] == "PodDisruptionBudget"]
    scaled = [at(each, "spec", "minReplicas") for each in rendered(of) if each["kind"] == "HorizontalPodAutoscaler"]

    assert (scaled or [at(only(of, "Deployment"), "spec", "replicas")]) == [replicas]
    assert [at(each, "minAvailable") for each in budgets] == ([] if available is None else [available])


def test_replicas_for_production_are_as_many_as_there_is_work_for() -> None:
    deployment, scaler = only("overlays/ha", "Deployment"), at(only("overlays/ha", "HorizontalPodAutoscaler"), "spec")
    [metric] = objects(at(scaler, "metrics"))

    assert at(scaler, "scaleTargetRef") == {"apiVersion": "apps/v1", "kind": "Deployment", "name": at(deployment, "metadata", "name")}
    assert at(metric, "resource", "name") == "cpu"
    assert at(metric, "resource", "target") == {"type": "AverageValue", "averageValue": "600m"}  # of the one core that a process can use
    spec = at(deployment, "spec")
    assert isinstance(spec, dict)
    assert "replicas" not in spec


@every_set
def test_every_selector_finds_the_pods(of: str) -> None:
    labels = at(only(of, "Deployment"), "spec", "template", "metadata", "labels")
    assert isinstance(labels, dict)
    selectors = [at(only(of, "Deployment"), "spec", "selector", "matchLabels"), at(only(of, "Service"), "spec", "selector")]
    selectors += [at(only(of, "NetworkPolicy"), "spec", "podSelector", "matchLabels")]
    selectors += [at(each, "spec", "selector", "matchLabels") for each in rendered(of) if each["kind"] == "PodDisruptionBudget"]
    selectors += [at(each, "labelSelector", "matchLabels") for each in objects(at(pod(of), "topologySpreadConstraints"))]

    assert all(isinstance(each, dict) and each.items() <= labels.items() for each in selectors)


def test_replicas_for_production_go_to_nodes_of_their_own_and_before_workloads() -> None:
    spec = pod("overlays/ha")

    [term] = objects(at(spec, "affinity", "podAntiAffinity", "preferredDuringSchedulingIgnoredDuringExecution"))
    assert at(term, "podAffinityTerm", "topologyKey") == "kubernetes.io/hostname"
    assert at(spec, "priorityClassName") == at(only("overlays/ha", "PriorityClass"), "metadata", "name")


@every_set
def test_the_command_line_knows_every_argument(of: str) -> None:
    group = get_command(app)
    assert isinstance(group, TyperGroup)
    serve = group.get_command(Context(group), "serve")
    assert serve is not None
    known = {option for parameter in serve.params for option in parameter.opts}

    assert set(arguments(of)) <= known


@every_set
def test_what_listens_beyond_the_pod_is_declared_and_nothing_else_is_let_in(of: str) -> None:
    bound = {name: arguments(of)[f"--{name}"] for name in ("xds", "xds-tls", "admin", "health", "webhook", "modules")}

    reached = {name: int(where.rpartition(":")[2]) for name, where in bound.items() if not where.startswith("127.0.0.1:")}

    assert ports(of) == reached
    [rule] = objects(at(only(of, "NetworkPolicy"), "spec", "ingress"))
    assert sorted(str(each["port"]) for each in objects(rule["ports"])) == sorted(str(port) for port in reached.values())
    offered = {each["targetPort"]: each["port"] for each in objects(at(only(of, "Service"), "spec", "ports"))}
    assert offered == reached


@every_set
def test_what_is_in_the_clear_stays_in_the_pod(of: str) -> None:
    assert set(ports(of)) == {"health", "modules", "webhook", "xds-tls"}
    assert (arguments(of)["--xds"], arguments(of)["--admin"]) == ("127.0.0.1:15010", "127.0.0.1:15014")
    assert "--insecure" not in arguments(of)


@every_set
def test_the_server_is_called_as_its_service_is(of: str) -> None:
    _, *options = words(container(of)["args"])
    metadata = only(of, "Service")["metadata"]

    service = f"{at(metadata, 'name')}.{at(metadata, 'namespace')}.svc"
    assert arguments(of)["--modules-at"] == f"{service}:{ports(of)['modules']}"
    assert [each.removeprefix("--name=") for each in options if each.startswith("--name=")] == [service, f"{service}.cluster.local"]


@every_set
def test_pods_reach_only_the_api_server_and_dns(of: str) -> None:
    spec = at(only(of, "NetworkPolicy"), "spec")

    api, dns = objects(at(spec, "egress"))
    assert at(spec, "policyTypes") == ["Ingress", "Egress"]
    assert [each["port"] for each in objects(api["ports"])] == [443, 6443]
    assert [each["port"] for each in objects(dns["ports"])] == [53, 53]
    assert dns["to"]


@every_set
def test_the_image_is_this_version_and_comes_from_nowhere_foreign(of: str) -> None:
    images = re.findall(r"\bimage: *(\S+)", text(of))

    assert images == [f"navarch:{VERSION}"]
    assert ":latest" not in text(of)


@every_set
def test_no_secret_and_no_binary_is_part_of_what_is_applied(of: str) -> None:
    assert "Secret" not in {each["kind"] for each in rendered(of)}
    assert [value for each in rendered(of) for value in strings(each) if len(value) > 300] == []


@every_set
def test_removing_the_control_plane_removes_no_objects_of_the_mesh(of: str) -> None:
    kinds = {(each["kind"], at(each, "metadata", "name")) for each in rendered(of)}

    assert [kind for kind in kinds if kind[0] == "CustomResourceDefinition"] == []
    assert [kind for kind in kinds if kind[0] == "Namespace"] == [("Namespace", "navarch-system")]


def test_every_file_belongs_to_a_set() -> None:
    named: set[str] = set()
    for of in SETS:
        told = yaml.safe_load((MANIFESTS / of / "kustomization.yaml").read_text())
        named |= {f"{of}/{each}" for each in told["resources"]} | {f"{of}/{each['path']}" for each in told.get("patches", ())}

    there = {str(path.relative_to(MANIFESTS)) for of in SETS for path in (MANIFESTS / of).iterdir()}

    assert there - named == {f"{of}/kustomization.yaml" for of in SETS}
