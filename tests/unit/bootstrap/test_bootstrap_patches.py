"""EnvoyFilters patch what proxies are started with: by the webhook, and by ``navarch bootstrap``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest
from typer.testing import CliRunner

from controlplane.bootstrap.bootstrap import BootstrapNode, BootstrapSettings, bootstrap, bootstrap_and_faults
from controlplane.bootstrap.xds_cluster import XdsServer
from controlplane.cli.main import app
from controlplane.inject.inject import Injected, InjectionContext, inject
from controlplane.inject.policy import PodNamespace
from controlplane.mesh.mesh import Mesh
from controlplane.mesh.patches.bootstraps import patches_at_start
from controlplane.objects.changes import split
from controlplane.settings import EnvoyFilters, InjectionSettings
from controlplane.sources.files.folder import ManifestFolder
from controlplane.sources.files.manifest import parse_file
from controlplane.translate.patches.bootstrap import BootstrapPatch

Json = Mapping[str, object]
SETTINGS = BootstrapSettings(
    node=BootstrapNode(name="web-1", namespace="shop", ip="10.0.0.7", labels=()), control_plane=XdsServer(addresses=("127.0.0.1:15010",))
)
POD = {"metadata": {"name": "web-1", "labels": {"app": "web"}}, "spec": {"containers": [{"name": "app", "image": "app:1"}]}}


def envoy_filter(name: str, *values: Json, namespace: str = "istio-system", **spec: object) -> str:
    patches = [{"applyTo": "BOOTSTRAP", "patch": {"operation": "MERGE", "value": value}} for value in values]
    head = {"apiVersion": "networking.istio.io/v1alpha3", "kind": "EnvoyFilter", "metadata": {"name": name, "namespace": namespace}}
    return json.dumps({**head, "spec": {"configPatches": patches, **spec}})


def patches(*filters: str, let_through: EnvoyFilters = EnvoyFilters.ALL) -> tuple[BootstrapPatch, ...]:
    mesh = Mesh(envoy_filters=let_through)
    mesh.apply(split(ManifestFolder().take({"a.yaml": parse_file("\n---\n".join(filters))}, 0))[0])
    return patches_at_start(mesh.database)


def test_patches_apply_in_order_and_leave_the_rest() -> None:
    found = patches(envoy_filter("b", {"stats_flush_interval": "7s"}), envoy_filter("a", {"stats_flush_interval": "3s"}, priority=1))
    settings = BootstrapSettings(node=SETTINGS.node, control_plane=SETTINGS.control_plane, patches=tuple(each.patch for each in found))

    made, faults = bootstrap_and_faults(settings)

    assert (made["stats_flush_interval"], faults) == ("3s", ())
    assert made["node"] == bootstrap(SETTINGS)["node"]


def test_what_breaks_a_constraint_is_left_out_and_told() -> None:
    found = patches(envoy_filter("a", {"stats_flush_interval": "7s"}, {"dynamic_resources": {"cds_config": {"path": ""}}}))
    settings = BootstrapSettings(node=SETTINGS.node, control_plane=SETTINGS.control_plane, patches=tuple(each.patch for each in found))

    made, _ = bootstrap_and_faults(settings)

    assert made["stats_flush_interval"] == "7s"


@pytest.mark.parametrize(
    ("written", "namespace", "labels", "gateway", "wanted"),
    [
        (envoy_filter("a", {"stats_flush_interval": "7s"}), "shop", {}, False, True),
        (envoy_filter("a", {"stats_flush_interval": "7s"}, namespace="shop"), "shop", {}, False, True),
        (envoy_filter("a", {"stats_flush_interval": "7s"}, namespace="other"), "shop", {}, False, False),
        (envoy_filter("a", {}, workloadSelector={"labels": {"app": "web"}}), "shop", {"app": "web"}, True, True),
        (envoy_filter("a", {}, workloadSelector={"labels": {"app": "web"}}), "shop", {"app": "db"}, False, False),
    ],
)
def test_a_patch_is_for_the_workloads_that_it_selects(
    written: str, namespace: str, labels: Mapping[str, str], *, gateway: bool, wanted: bool
) -> None:
    [found] = patches(written)

    assert found.is_for(namespace, labels, gateway=gateway) is wanted


def test_those_of_the_root_namespace_alone_where_the_operator_says_so() -> None:
    written = (envoy_filter("a", {}, namespace="shop"), envoy_filter("b", {}))

    assert [each.patch.ref.key.name for each in patches(*written, let_through=EnvoyFilters.ROOT)] == ["b"]
    assert patches(*written, let_through=EnvoyFilters.OFF) == ()


def test_a_pod_s_proxy_is_started_with_its_patches() -> None:
    context = InjectionContext(settings=InjectionSettings(), patches=patches(envoy_filter("a", {"stats_flush_interval": "7s"})))

    outcome = inject(POD, PodNamespace("shop", {"istio-injection": "enabled"}), context)

    assert isinstance(outcome, Injected)
    assert '"stats_flush_interval":"7s"' in json.dumps(outcome.pod).replace("\\", "").replace(": ", ":")


@pytest.mark.parametrize("value", ["7s", "soon"])
def test_navarch_inject_applies_the_patches_of_manifests_and_says_which_it_cannot(tmp_path: Path, value: str) -> None:
    (tmp_path / "a.yaml").write_text(envoy_filter("a", {"stats_flush_interval": value}))
    (tmp_path / "pod.yaml").write_text(
        "{apiVersion: v1, kind: Pod, metadata: {name: web, namespace: shop}, spec: {containers: [{name: web, image: web}]}}"
    )

    said = CliRunner().invoke(app, ["inject", "-f", str(tmp_path / "pod.yaml"), "--patches", str(tmp_path / "a.yaml")])

    assert said.exit_code == 0, said.output
    assert ("stats_flush_interval" in said.stdout) == (value == "7s")
    assert ("stats_flush_interval" in said.stderr) == (value == "soon")


def test_navarch_bootstrap_applies_the_patches_of_manifests(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(envoy_filter("a", {"stats_flush_interval": "7s"}))

    said = CliRunner().invoke(app, ["bootstrap", "--xds", "127.0.0.1:15010", "--ip", "10.0.0.7", "--patches", str(tmp_path / "a.yaml")])

    assert said.exit_code == 0, said.output
    assert json.loads(said.stdout)["stats_flush_interval"] == "7s"
