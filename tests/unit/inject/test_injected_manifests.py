"""Manifests through ``navarch inject``: pods get proxies, everything else stays as it is written, to the byte."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlplane.inject.inject import Injected, InjectionContext, inject
from controlplane.inject.manifests import InjectedManifests, ManifestFile, NamespaceDefaults, inject_manifests
from controlplane.objects.reading.documents import documents
from controlplane.objects.reading.dump_yaml import yaml_text
from controlplane.objects.reading.yaml import compose
from controlplane.settings import InjectionSettings
from controlplane.untyped import section
from tests.support.injection import MESH, WANTED

OTHERS = """# who wrote this
apiVersion: v1
kind: Service   # aligned
metadata: {name: web, namespace: shop}
---
kind: "Unknown"
apiVersion: example.com/v1
x: [001, yes, 1e3]
"""
POD = """---
apiVersion: v1
kind: Pod
metadata: {name: web, namespace: shop}
spec: {containers: [{name: web, image: web}]}
"""
DEPLOYMENT = """---
apiVersion: apps/v1
kind: Deployment
metadata: {name: cart, namespace: shop}
spec:
  replicas: 2
  template:
    metadata: {labels: {app: shop-cart, version: "1e3"}}
    spec: {containers: [{name: cart, image: cart}]}
"""
NAMESPACE = """---
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {istio-injection: disabled}}
"""
SETTINGS = """---
apiVersion: v1
kind: ConfigMap
metadata: {name: istio, namespace: istio-system}
data: {mesh: "defaultConfig: {concurrency: 7}"}
"""

leaves = st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.sampled_from([0.5, -2.25, 1e-9, 1.5e300])
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20) | st.sampled_from(
    [
        "y",
        "No",
        "1e3",
        "012",
        "0o7",
        "0x1f",
        "1_000",
        "1:30",
        "~",
        "null",
        "",
        " ",
        "- a",
        "a: b",
        "a #b",
        "2001-01-01",
        "=",
        "<<",
        "a\nb",
        "\n",
    ]
)
values = st.recursive(leaves | texts, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3), max_leaves=8)


def run(*sheets: str, where: NamespaceDefaults = NamespaceDefaults(), beside: str = "") -> InjectedManifests:  # noqa: B008 - frozen
    return inject_manifests(
        [ManifestFile("in.yaml", each) for each in sheets], MESH, where, beside=[ManifestFile("mesh.yaml", beside)] if beside else []
    )


@given(values)
def test_what_is_written_is_read_as_the_same(value: object) -> None:
    read = compose(yaml_text(value))

    assert read is not None
    assert repr(read.value) == repr(value)


def test_documents_without_pods_stay_to_the_byte() -> None:
    done = run(OTHERS + POD)

    assert done.text.startswith(f"---\n{OTHERS}---\n")
    assert done.notes == ("Pod shop/web: a proxy is put in",)
    assert run(OTHERS).text == f"---\n{OTHERS}"


def test_the_result_is_what_the_webhook_makes_of_the_same_pod() -> None:
    [document] = documents(run(POD).text)
    [before] = documents(POD)

    by_webhook = inject(dict(before.data or {}), WANTED, MESH)

    assert isinstance(by_webhook, Injected)
    assert document.data == by_webhook.pod


def test_what_makes_pods_is_injected_in_its_template_and_named_for_it() -> None:
    [document] = documents(run(DEPLOYMENT).text)

    data = document.data or {}
    spec = section(data, "spec")
    assert spec["replicas"] == 2
    labels = section(section(section(spec, "template"), "metadata"), "labels")
    assert labels["service.istio.io/canonical-name"] == "shop-cart"
    assert labels["version"] == "1e3"
    assert '"WORKLOAD_NAME":"cart"' in run(DEPLOYMENT).text


@pytest.mark.parametrize("api_version", ["v1", "apps.openshift.io/v1"])
def test_a_deployment_config_is_what_a_deployment_is(api_version: str) -> None:
    written = DEPLOYMENT.replace("apps/v1", api_version).replace("kind: Deployment", "kind: DeploymentConfig")

    done = run(written)

    assert any("DeploymentConfig" in note and "a proxy is put in" in note for note in done.notes)
    assert '"WORKLOAD_NAME":"cart"' in done.text


@pytest.mark.parametrize("api_version", ["apps/v1beta1", "apps/v1beta2", "extensions/v1beta1"])
def test_an_old_version_of_a_kind_is_what_the_kind_is(api_version: str) -> None:
    old = run(DEPLOYMENT.replace("apps/v1", api_version))

    assert old.text == run(DEPLOYMENT).text.replace("apiVersion: apps/v1", f"apiVersion: {api_version}")


@pytest.mark.parametrize(
    ("kind", "at"), [("Rollout", "template: {"), ("CronSet", "jobTemplate: {spec: {template: {")], ids=["template", "jobTemplate"]
)
def test_pods_of_a_kind_that_is_not_known_are_not_passed_over_in_silence(kind: str, at: str) -> None:
    spec = f"{{{at}spec: {{containers: [{{name: a}}]}}{'}' * at.count('{')}}}"

    done = run(f"apiVersion: example.com/v1\nkind: {kind}\nmetadata: {{name: x}}\nspec: {spec}\n")

    [note] = done.notes
    assert note.startswith(f"{kind} x: no proxy: it has pods at spec.")


def test_what_a_workload_says_beside_its_template_is_told() -> None:
    written = (
        'metadata: {name: cart, namespace: shop, labels: {app: cart, sidecar.istio.io/inject: "false"}, '
        'annotations: {traffic.sidecar.istio.io/excludeOutboundPorts: "5432", example.com/owner: us}}'
    )

    done = run(DEPLOYMENT.replace("metadata: {name: cart, namespace: shop}", written))

    assert [note.partition(": ")[2].partition(" of the")[0] for note in done.notes[1:]] == [
        "label sidecar.istio.io/inject",
        "annotation traffic.sidecar.istio.io/excludeOutboundPorts",
    ]


def test_items_of_a_list_are_injected_where_they_are() -> None:
    text = f'{{"apiVersion": "v1", "kind": "List", "items": [{{"apiVersion": "v1", "kind": "Service"}}, {written_as_json(POD)}]}}'

    [service, pod] = documents(run(text).text)

    assert service.data == {"apiVersion": "v1", "kind": "Service"}
    assert "istio-proxy" in str(pod.data)


def test_namespaces_and_settings_among_the_manifests_count() -> None:
    refused = run(POD, NAMESPACE)
    told = run(POD, SETTINGS)

    assert refused.notes == ("Pod shop/web: no proxy: its namespace says that it wants none",)
    assert refused.text == POD + NAMESPACE
    assert '"7"' in told.text.replace("'", '"')
    assert run(POD, beside=SETTINGS).text == run(POD, SETTINGS).text.replace(SETTINGS, "")


def test_settings_of_the_mesh_that_cannot_be_used_are_told() -> None:
    wrong = run(POD, SETTINGS.replace("7", "many"))
    missing = run(POD, beside=POD)

    assert wrong.problems == ("ConfigMap istio-system/istio: data.mesh.defaultConfig.concurrency: expected an integer, found 'many'",)
    assert missing.problems == ("mesh.yaml: expected the ConfigMap istio of istio-system",)


def test_who_names_the_labels_of_namespaces_has_them_counted() -> None:
    done = run(POD, where=NamespaceDefaults(labels={"istio.io/rev": "canary"}))

    assert done.notes == ("Pod shop/web: no proxy: its namespace is for revision canary, this is default",)
    assert done.text == POD


def test_what_cannot_be_read_or_injected_is_told_with_file_and_line() -> None:
    broken = run(POD + "---\nkind: [\n").problems
    evil = POD.replace("name: web, name", 'name: web, annotations: {"sidecar.istio.io/logLevel": "loud\\nx"}, name')

    assert broken[0].startswith("in.yaml:")
    [problem] = run(evil).problems
    assert problem.startswith("in.yaml:2: Pod shop/web: annotation sidecar.istio.io/logLevel: expected one of trace, ")


def test_injecting_manifests_twice_is_injecting_them_once() -> None:
    once = run(OTHERS, POD, DEPLOYMENT).text

    again = run(once)

    assert again.text == once
    assert again.problems == ()


def test_settings_decide() -> None:
    done = inject_manifests(
        [ManifestFile("in.yaml", POD)], InjectionContext(settings=InjectionSettings(auto_inject=False)), NamespaceDefaults()
    )

    assert done.notes == ("Pod shop/web: no proxy: neither it nor its namespace asks for one",)


def written_as_json(text: str) -> str:
    [document] = documents(text)
    return json.dumps(document.data)
