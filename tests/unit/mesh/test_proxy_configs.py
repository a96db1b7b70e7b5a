"""ProxyConfigs: whose proxies they are for, what counts first, and what is told of those that nothing comes of."""

from __future__ import annotations

import pickle

import pytest

from controlplane.mesh.mesh import Mesh
from controlplane.objects.networking.proxy_config import NO_SETTINGS, ProxySettings
from controlplane.objects.parse import parse
from tests.bench.recompute import change

Json = dict[str, object]


def config(name: str, namespace: str = "shop", created: str = "", **spec: object) -> Json:
    metadata = {"name": name, "namespace": namespace, **({"creationTimestamp": created} if created else {})}
    return {"apiVersion": "networking.istio.io/v1beta1", "kind": "ProxyConfig", "metadata": metadata, "spec": spec}


def pod(name: str, **labels: str) -> Json:
    metadata = {"name": name, "namespace": "shop", "labels": labels}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"containers": [{"name": "app"}]}}


def of(**labels: str) -> Json:
    return {"matchLabels": labels}


def mesh_of(*written: Json) -> Mesh:
    mesh = Mesh()
    mesh.apply([change(each) for each in written])
    return mesh


def threads(mesh: Mesh, namespace: str = "shop", annotated: int | None = None, **labels: str) -> int | None:
    own = NO_SETTINGS if annotated is None else ProxySettings.model_validate({"concurrency": annotated})
    return mesh.proxy_configs().settings(namespace, labels, own).concurrency


def test_the_nearest_that_says_it_counts() -> None:
    mesh = mesh_of(
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "istio", "namespace": "istio-system"},
            "data": {"mesh": "{rootNamespace: root, defaultConfig: {concurrency: 1}}"},
        },
        config("all", "root", concurrency=2),
        config("shop", concurrency=3),
        config("web", selector=of(app="web"), concurrency=5),
        config("elsewhere", "root", selector=of(app="api"), concurrency=6),
    )

    assert threads(mesh, app="web", annotated=4) == 5
    assert threads(mesh, app="api", annotated=4) == 4
    assert threads(mesh, app="api") == 3
    assert threads(mesh, "other", app="web") == 2
    assert threads(mesh, "root", app="api") == 6
    assert threads(mesh, "root", app="web") == 2
    assert threads(mesh_of(), app="web") is None


def test_another_process_can_be_told_of_them() -> None:
    configs = mesh_of(config("web", selector=of(app="web"), environmentVariables={"A": "1"}, image={"imageType": "debug"})).proxy_configs()

    assert pickle.loads(pickle.dumps(configs)) == configs


def told(*written: Json) -> list[tuple[str, str]]:
    return [(problem.object.name if problem.object else "", problem.code) for problem in mesh_of(*written).problems()]


@pytest.mark.parametrize(
    ("configs", "expected"),
    [
        ([config("a", concurrency=1), config("b", concurrency=2)], [("b", "Conflict")]),
        (
            [config("a", concurrency=1, created="2026-02-01T00:00:00Z"), config("b", concurrency=2, created="2026-01-01T00:00:00Z")],
            [("a", "Conflict")],
        ),
        ([config("a", concurrency=1), config("b", image={"imageType": "debug"})], []),
        ([config("a", concurrency=1), config("b", selector=of(app="web"), concurrency=2)], []),
        ([config("a", selector=of(app="web"), concurrency=1), config("b", selector=of(tier="one"), concurrency=2)], [("b", "Conflict")]),
        ([config("a", selector=of(app="other"), concurrency=1)], [("a", "NoWorkload")]),
        ([config("a", environmentVariables={"A": "1"}), config("b", environmentVariables={"B": "1"})], []),
    ],
    ids=["two of a namespace", "by age", "other fields", "one for a workload", "by a pod", "for nobody", "other variables"],
)
def test_what_does_not_count_is_told(configs: list[Json], expected: list[tuple[str, str]]) -> None:
    assert [each for each in told(pod("web", app="web", tier="one"), *configs) if each[0] != "web"] == expected


@pytest.mark.parametrize(
    ("spec", "path"),
    [
        ({"environmentVariables": {"POD_NAME": "x"}}, "spec.environmentVariables"),
        ({"environmentVariables": {"ISTIO_META_NAMESPACE": "x"}}, "spec.environmentVariables"),
        ({"environmentVariables": {"a b": "x"}}, "spec.environmentVariables"),
        ({"image": {"imageType": "a:b"}}, "spec.image.imageType"),
        ({"concurrency": -1}, "spec.concurrency"),
    ],
)
def test_what_no_proxy_can_have_is_refused(spec: Json, path: str) -> None:
    assert [(problem.severity, problem.field) for problem in parse({**config("web"), "spec": spec}).problems] == [("error", path)]


def test_what_istios_agent_reads_is_told_to_have_no_effect() -> None:
    parsed = parse(config("web", environmentVariables={"ISTIO_META_DNS_CAPTURE": "true", "TIER": "gold"}))

    assert [(problem.code, problem.field) for problem in parsed.problems] == [
        ("NotTranslated", "spec.environmentVariables.ISTIO_META_DNS_CAPTURE")
    ]
