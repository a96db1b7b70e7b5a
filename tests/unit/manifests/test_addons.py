"""What can be added to a mesh: Envoy's rate limit service, and the port of the control plane that it comes in by."""

from __future__ import annotations

import subprocess
from pathlib import Path

import yaml

from controlplane.model.proxies import ProxyType, proxy_from_node
from controlplane.objects.networking.destination_rule import DestinationRule
from controlplane.objects.parse import parse
from controlplane.untyped import items, section, text
from tests.support.kube_binaries import kubectl
from tests.support.rendered_manifests import MANIFESTS, Json, rendered

SERVICE = "addons/ratelimit"


def name_of(manifest: Json) -> str:
    return text(section(manifest, "metadata"), "name")


def env() -> dict[str, str]:
    [deployment] = [
        each for each in rendered(SERVICE) if each["kind"] == "Deployment" and text(section(each, "metadata"), "name") == "ratelimit"
    ]
    [container] = items(section(section(section(deployment, "spec"), "template"), "spec"), "containers")
    return {text(each, "name"): text(each, "value") for each in items(container, "env")}


def with_mtls(folder: Path) -> dict[tuple[str, str], Json]:
    made = {"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization"}
    folders = {"resources": ["../base"], "components": ["../addons/xds-mtls"]}
    for name in ("base", "addons"):
        (folder / name).symlink_to(MANIFESTS / name)
    (folder / "own").mkdir()
    (folder / "own" / "kustomization.yaml").write_text(yaml.safe_dump({**made, **folders}))
    run = subprocess.run(
        [kubectl(), "kustomize", "--load-restrictor", "LoadRestrictionsNone", str(folder / "own")],
        capture_output=True,
        text=True,
        check=True,
    )
    return {(each["kind"], name_of(each)): each for each in yaml.safe_load_all(run.stdout)}


def test_its_objects_are_read_without_a_problem() -> None:
    parsed = [parse(each) for each in rendered(SERVICE)]

    assert [problem for each in parsed for problem in each.problems if problem.code != "KindIgnored"] == []
    assert len([each for each in parsed if each.object]) == 8


def test_its_node_is_that_of_a_rate_limit_service_of_its_own_account() -> None:
    node = env()["CONFIG_GRPC_XDS_NODE_ID"].replace("$(POD_IP)", "10.0.0.1").replace("$(POD_NAME)", "ratelimit-1")
    metadata = dict(each.split("=") for each in env()["CONFIG_GRPC_XDS_NODE_METADATA"].split(","))
    proxy = proxy_from_node(node, metadata)

    assert (proxy.type, proxy.namespace, proxy.name) == (ProxyType.RATE_LIMIT_SERVICE, "ratelimit", "ratelimit-1")
    assert metadata == {"NAMESPACE": "ratelimit", "SERVICE_ACCOUNT": "ratelimit"}


def test_it_comes_to_the_port_that_the_control_plane_has_for_certificates(tmp_path: Path) -> None:
    plane = with_mtls(tmp_path)
    host, _, port = env()["CONFIG_GRPC_XDS_SERVER_URL"].partition(":")
    name, namespace, *_ = host.split(".")
    service = plane["Service", name]
    [container] = items(section(section(section(plane["Deployment", "navarch"], "spec"), "template"), "spec"), "containers")
    [rule] = [parsed for each in rendered(SERVICE) if isinstance(parsed := parse(each).object, DestinationRule)]

    assert text(section(service, "metadata"), "namespace") == namespace
    assert list(items(section(service, "spec"), "ports")) == [
        {"name": "grpc-xds", "port": int(port), "targetPort": "xds-mtls", "protocol": "TCP"}
    ]
    assert {"name": "xds-mtls", "containerPort": int(port)} in items(container, "ports")
    arguments = container["args"]
    assert isinstance(arguments, list)
    assert f"--xds-mtls=0.0.0.0:{port}" in arguments
    assert rule.spec.host == host
    assert rule.spec.traffic_policy is not None
    assert rule.spec.traffic_policy.tls is not None
    assert {f"--name={each}" for each in rule.spec.traffic_policy.tls.subject_alt_names} <= set(arguments)
