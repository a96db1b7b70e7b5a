"""Which patches are for which proxies, in which order, and what becomes of those that a proxy refuses."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace

import pytest
from envoy.config.cluster.v3.cluster_pb2 import Cluster

from controlplane.envoy.type_urls import CDS
from controlplane.mesh.mesh import Mesh
from controlplane.mesh.sessions import Session
from controlplane.model.envoy_versions import EnvoyVersion
from controlplane.model.keys import SERVICE
from controlplane.model.proxies import Proxy, proxy_from_node
from controlplane.objects.changes import MeshChange, split
from controlplane.settings import EnvoyFilters
from controlplane.sources.files.folder import ManifestFolder
from controlplane.sources.files.manifest import parse_file
from controlplane.xds.stream import Variant

Json = Mapping[str, object]
ROOT, SHOP = "istio-system", "shop"
WEB = "outbound|80||web.shop.svc.cluster.local"


def service(name: str) -> Json:
    spec = {"ports": [{"name": "http", "port": 80}]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": SHOP}, "spec": spec}


def envoy_filter(
    name: str, *milliseconds: int, namespace: str = ROOT, match: Json | None = None, created: str = "", **spec: object
) -> Json:
    """Return an EnvoyFilter that sets how long a connection to a service may take, by several patches after each other."""
    patches = [
        {
            "applyTo": "CLUSTER",
            "match": {"cluster": {"service": "web.shop.svc.cluster.local"}, **(match or {})},
            "patch": {"operation": "MERGE", "value": {"connect_timeout": f"{each / 1000}s"}},
        }
        for each in milliseconds
    ]
    metadata = {"name": name, "namespace": namespace, **({"creationTimestamp": created} if created else {})}
    head = {"apiVersion": "networking.istio.io/v1alpha3", "kind": "EnvoyFilter", "metadata": metadata}
    return {**head, "spec": {"configPatches": patches, **spec}}


def proxy(namespace: str = SHOP, kind: str = "sidecar", **metadata: object) -> Proxy:
    labels = {"LABELS": {"app": "client"}}
    return proxy_from_node(f"{kind}~10.0.0.1~client-1.{namespace}~{namespace}.svc.cluster.local", {**labels, **metadata})


class Patched:
    """A mesh with some EnvoyFilters."""

    def __init__(self, *filters: Json, let_through: EnvoyFilters = EnvoyFilters.ALL) -> None:
        self.mesh, self.folder = Mesh(envoy_filters=let_through), ManifestFolder()
        self.apply(*filters)

    def apply(self, *filters: Json) -> None:
        text = "\n---\n".join(json.dumps(each) for each in (service("web"), *filters))
        self.mesh.apply(split(self.folder.take({"a.yaml": parse_file(text)}, 0))[0])

    def session(self, proxy: Proxy) -> Session:
        session = self.mesh.connect(proxy, Variant.DELTA)
        assert self.mesh.refresh().failed == ()
        return session

    def milliseconds(self, session: Session) -> int:
        """Return how long a connection to the service may take."""
        assert self.mesh.refresh().failed == ()
        resource = session.view.get(CDS, WEB)
        assert resource
        return Cluster.FromString(resource.value).connect_timeout.ToMilliseconds()

    def fields(self) -> list[tuple[str, str]]:
        self.mesh.refresh()
        return [(problem.field, problem.code) for problem in self.mesh.problems()]


UNPATCHED = 10_000
SELECTED: Json = {"labels": {"app": "client"}}
OTHERS: Json = {"labels": {"app": "other"}}


@pytest.mark.parametrize(
    ("filters", "wanted"),
    [
        ([envoy_filter("a", 1, 2)], 2),
        ([envoy_filter("b", 1), envoy_filter("a", 2)], 1),
        ([envoy_filter("a", 1, created="2026-02-01T00:00:00Z"), envoy_filter("b", 2, created="2026-01-01T00:00:00Z")], 1),
        ([envoy_filter("a", 1, namespace=SHOP, created="2020-01-01T00:00:00Z"), envoy_filter("b", 2)], 1),
        ([envoy_filter("a", 1, namespace=SHOP, priority=-1), envoy_filter("b", 2)], 2),
        ([envoy_filter("a", 1, priority=5), envoy_filter("b", 2, priority=-5)], 1),
    ],
    ids=["as written", "by name", "by age", "the root's first", "priority before that", "priority"],
)
def test_the_last_one_in_order_has_the_last_word(filters: list[Json], wanted: int) -> None:
    patched = Patched(*filters)

    assert patched.milliseconds(patched.session(proxy())) == wanted


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        (envoy_filter("a", 1, workloadSelector=SELECTED), 1),
        (envoy_filter("a", 1, workloadSelector=OTHERS), UNPATCHED),
        (envoy_filter("a", 1, namespace="other"), UNPATCHED),
        (envoy_filter("a", 1, match={"context": "SIDECAR_OUTBOUND"}), 1),
        (envoy_filter("a", 1, match={"context": "SIDECAR_INBOUND"}), UNPATCHED),
        (envoy_filter("a", 1, match={"context": "GATEWAY"}), UNPATCHED),
        (envoy_filter("a", 1, match={"proxy": {"metadata": {"TIER": "gold"}}}), 1),
        (envoy_filter("a", 1, match={"proxy": {"metadata": {"TIER": "tin"}}}), UNPATCHED),
        (envoy_filter("a", 1, match={"proxy": {"proxyVersion": r"^1\.40.*"}}), 1),
        (envoy_filter("a", 1, match={"proxy": {"proxyVersion": r"^1\.1.*"}}), UNPATCHED),
        (envoy_filter("a", 1, targetRefs=[{"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "g"}]), UNPATCHED),
    ],
)
def test_a_patch_is_for_the_proxies_that_it_selects(given: Json, wanted: int) -> None:
    patched = Patched(given)

    found = patched.milliseconds(patched.session(replace(proxy(TIER="gold"), envoy=EnvoyVersion(1, 40))))

    assert found == wanted


@pytest.mark.parametrize(("let_through", "wanted"), [(EnvoyFilters.OFF, UNPATCHED), (EnvoyFilters.ROOT, 1), (EnvoyFilters.ALL, 2)])
def test_those_are_let_through_that_the_operator_says(let_through: EnvoyFilters, wanted: int) -> None:
    patched = Patched(envoy_filter("a", 1), envoy_filter("b", 2, namespace=SHOP), let_through=let_through)

    assert patched.milliseconds(patched.session(proxy())) == wanted
    untold = {EnvoyFilters.OFF: 2, EnvoyFilters.ROOT: 1, EnvoyFilters.ALL: 0}[let_through]
    assert [code for _, code in patched.fields()].count("NotLetThrough") == untold


def test_what_a_proxy_refuses_with_a_patch_it_has_without_it_and_others_have_it() -> None:
    patched = Patched(envoy_filter("a", 1, 2))
    refusing, other = patched.session(proxy()), patched.session(proxy(namespace="elsewhere"))

    tried = []
    for _ in range(3):
        assert patched.mesh.withdraw_patches(refusing, CDS, WEB, "no")
        tried.append(patched.milliseconds(refusing))

    assert tried == [1, 2, UNPATCHED]  # without the last one, without the first, without both
    assert patched.milliseconds(other) == 2
    assert {field for field, _ in patched.fields()} == {"spec.configPatches[0].patch", "spec.configPatches[1].patch"}

    assert patched.mesh.withdraw_patches(refusing, CDS, WEB, "no")  # it is not their fault
    assert patched.milliseconds(refusing) == 2
    assert not patched.mesh.withdraw_patches(refusing, CDS, WEB, "no")
    assert patched.fields() == []


def test_a_patch_that_says_something_else_is_tried_again() -> None:
    patched = Patched(envoy_filter("a", 1))
    session = patched.session(proxy())
    assert patched.mesh.withdraw_patches(session, CDS, WEB, "no")
    assert patched.milliseconds(session) == UNPATCHED

    patched.apply(envoy_filter("a", 3))

    assert patched.milliseconds(session) == 3
    assert patched.fields() == []


def test_a_patch_costs_what_it_touches() -> None:
    services = [service(f"s{number}") for number in range(60)]
    patched = Patched(*services, envoy_filter("a", 1))
    patched.milliseconds(patched.session(proxy()))
    runs = patched.mesh.database.runs.copy()

    patched.apply(*services, envoy_filter("a", 2))
    patched.mesh.refresh()

    ran = {name: count - runs[name] for name, count in patched.mesh.database.runs.items() if count > runs[name]}
    assert sum(ran.values()) < 20, ran


def test_proxies_without_patches_share_everything_with_those_of_a_mesh_without() -> None:
    patched = Patched(envoy_filter("a", 1, workloadSelector=OTHERS))

    session = patched.session(proxy())

    assert [root.query.name for root in session.roots] == ["mesh.roots.whole_outbound_parts", "mesh.sidecar.inbound.inbound_parts"]


NOWHERE: Json = {"cluster": {"service": "nowhere.shop.svc.cluster.local"}}


def test_a_patch_that_fits_nothing_of_what_its_proxies_see_is_told_until_it_does() -> None:
    patched = Patched(envoy_filter("one", 1, 2), envoy_filter("idle", 3, match=NOWHERE, priority=1))
    before = patched.fields()

    session = patched.session(proxy())
    idle = patched.fields()
    patched.apply(envoy_filter("one", 1, 2), envoy_filter("idle", 3, match=NOWHERE, priority=1), service("nowhere"))
    fits = patched.fields()
    patched.mesh.apply([MeshChange(SERVICE.key(SHOP, "nowhere"), None)])
    gone = patched.fields()
    patched.mesh.disconnect(session)

    assert idle == gone == [("spec.configPatches[0].match", "FitsNothing")]
    assert before == fits == patched.fields() == []


def test_a_patch_in_a_table_that_another_proxy_has_too_is_used_as_long_as_one_of_them_has_it() -> None:
    patched = Patched(envoy_filter("one", 1))
    sessions = [patched.session(each) for each in (proxy(), proxy(), proxy("other"))]

    for session in sessions:
        assert patched.fields() == []
        patched.mesh.disconnect(session)

    assert patched.fields() == []


def test_a_patch_for_another_context_than_any_connected_proxy_has_is_not_told() -> None:
    patched = Patched(envoy_filter("one", 1, match={"context": "GATEWAY"}))
    patched.session(proxy())

    assert patched.fields() == []
