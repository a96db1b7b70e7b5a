"""What can be added to a mesh: Envoy's rate limit service, and the Envoy by which it comes to the control plane."""

from __future__ import annotations

import json

from controlplane.bootstrap.xds_cluster import XdsCredentials, XdsServer, secret_files
from controlplane.bootstrap.xds_relay import xds_relay
from controlplane.model.proxies import ProxyType, proxy_from_node
from controlplane.objects.parse import parse
from controlplane.untyped import items, section, text
from tests.support.rendered_manifests import Json, rendered

SERVICE = "addons/ratelimit"


def name_of(manifest: Json) -> str:
    return text(section(manifest, "metadata"), "name")


def env() -> dict[str, str]:
    [deployment] = [
        each for each in rendered(SERVICE) if each["kind"] == "Deployment" and text(section(each, "metadata"), "name") == "ratelimit"
    ]
    container, _ = items(section(section(section(deployment, "spec"), "template"), "spec"), "containers")
    return {text(each, "name"): text(each, "value") for each in items(container, "env")}


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


def test_the_envoy_beside_it_leads_to_the_control_plane_with_the_token_of_the_pod() -> None:
    files = XdsCredentials(
        token="/var/run/secrets/tokens/istio-token",
        roots="/var/run/secrets/istio/root-cert.pem",
        secrets="/etc/xds",
        server_name="navarch.navarch-system.svc",
    )
    [relay] = [section(each, "data") for each in rendered(SERVICE) if each["kind"] == "ConfigMap"]
    control_plane = XdsServer(addresses=("navarch.navarch-system.svc:15012",), credentials=files)

    assert json.loads(text(relay, "envoy.json")) == xds_relay(env()["CONFIG_GRPC_XDS_SERVER_URL"], control_plane)
    assert {name: text(relay, name) for name in secret_files(files)} == secret_files(files)
