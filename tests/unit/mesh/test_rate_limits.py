"""Limits on requests among other objects: for whom they are, who counts, what the service is told, and what is wrong."""

from __future__ import annotations

from collections.abc import Mapping

from controlplane.envoy.packing import expand
from controlplane.envoy.type_urls import CDS, LDS, RATE_LIMIT_CONFIG
from controlplane.mesh.mesh import Mesh
from controlplane.mesh.sessions import Session
from controlplane.model.keys import RATE_LIMIT
from controlplane.model.proxies import proxy_from_node
from controlplane.objects.changes import Change, split
from controlplane.objects.parse import parse
from controlplane.xds.stream import Variant

Json = Mapping[str, object]
FIVE = {"requests": 5, "per": "1m"}
GLOBAL = {"service": {"host": "ratelimit.limits.svc.cluster.local", "port": 8081}}
CLUSTER = "ratelimit|8081||ratelimit.limits.svc.cluster.local"
RLS: Json = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "ratelimit", "namespace": "limits"},
    "spec": {"ports": [{"port": 8081, "name": "grpc"}, {"port": 8080, "name": "http"}]},
}


def rate_limit(name: str = "x", /, *rules: Json, **spec: object) -> Json:
    meta = {"name": name, "namespace": "shop"}
    whole = {"rules": list(rules) or [{"limit": FIVE}], **spec}
    return {"apiVersion": "navarch.dev/v1alpha1", "kind": "RateLimit", "metadata": meta, "spec": whole}


def service(name: str, selector: Json, port: str = "http") -> Json:
    spec = {"selector": selector, "ports": [{"port": 80, "name": port}]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": "shop"}, "spec": spec}


def pod(app: str) -> Json:
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": app, "namespace": "shop", "labels": {"app": app}}, "status": {}}


def apply(mesh: Mesh, *documents: Json) -> None:
    changes = []
    for document in documents:
        parsed = parse(document)
        assert parsed.key is not None
        changes.append(Change(parsed.key, parsed.usable(None)))
    mesh.apply(split(changes)[0])
    assert mesh.refresh().failed == ()


def sidecar(mesh: Mesh, app: str = "web", namespace: str = "shop") -> Session:
    node = f"sidecar~10.0.0.1~{app}.{namespace}~{namespace}.svc.cluster.local"
    session = mesh.connect(proxy_from_node(node, {"LABELS": {"app": app}}), Variant.DELTA)
    mesh.refresh()
    return session


def counting_service(mesh: Mesh, namespace: str = "limits") -> Session:
    session = mesh.connect(proxy_from_node(f"ratelimit~10.0.0.2~x.{namespace}~{namespace}.svc.cluster.local", {}), Variant.SOTW)
    mesh.refresh()
    return session


def limited(session: Session) -> bool:
    return b"ratelimit" in session.view.get(LDS, "virtualInbound").value  # type: ignore[union-attr]


def domains(session: Session) -> dict[str, object]:
    found = (expand(RATE_LIMIT_CONFIG, each.value) for each in session.view.resources(RATE_LIMIT_CONFIG))
    return {str(each["domain"]): each["descriptors"] for each in found}


def problems(mesh: Mesh, name: str = "x") -> list[tuple[str, str]]:
    return [(each.field.removeprefix("spec."), each.code) for each in mesh.problems_about(RATE_LIMIT.key("shop", name))]


def test_a_limit_is_for_what_its_selector_or_its_targets_name() -> None:
    mesh = Mesh()
    web, other = sidecar(mesh), sidecar(mesh, "other")
    apply(mesh, service("front", {"app": "web"}))

    apply(mesh, rate_limit(selector={"matchLabels": {"app": "web"}}))
    assert (limited(web), limited(other)) == (True, False)
    apply(mesh, rate_limit(targetRefs=[{"kind": "Service", "name": "front"}]))
    assert (limited(web), limited(other)) == (True, False)
    apply(mesh, service("front", {"app": "other"}))
    assert (limited(web), limited(other)) == (False, True)
    apply(mesh, service("front", {}))
    assert (limited(web), limited(other)) == (False, False)
    apply(mesh, rate_limit())
    assert (limited(web), limited(other)) == (True, True)


def test_a_gateway_is_a_target_by_the_proxies_that_it_selects() -> None:
    mesh = Mesh()
    web, other = sidecar(mesh), sidecar(mesh, "other")
    spec = {"selector": {"app": "web"}, "servers": [{"port": {"number": 80, "name": "http", "protocol": "HTTP"}, "hosts": ["*"]}]}
    metadata = {"name": "front", "namespace": "shop"}
    gateway = {"apiVersion": "networking.istio.io/v1", "kind": "Gateway", "metadata": metadata, "spec": spec}

    apply(mesh, rate_limit(targetRefs=[{"group": "networking.istio.io", "kind": "Gateway", "name": "front"}]))
    assert problems(mesh) == [("targetRefs[0]", "UnknownTarget")]
    apply(mesh, gateway)
    assert (limited(web), limited(other), problems(mesh)) == (True, False, [])


def test_who_counts_has_a_cluster_where_it_is_asked_whatever_the_sidecar_imports() -> None:
    mesh = Mesh()
    web, other = sidecar(mesh), sidecar(mesh, "other")
    spec = {"egress": [{"hosts": ["./*"]}]}
    own = {"apiVersion": "networking.istio.io/v1", "kind": "Sidecar", "metadata": {"name": "own", "namespace": "shop"}, "spec": spec}

    apply(mesh, own, RLS, rate_limit(selector={"matchLabels": {"app": "web"}}, **{"global": GLOBAL}))

    assert web.view.get(CDS, CLUSTER) is not None
    assert other.view.get(CDS, CLUSTER) is None
    assert (CDS, CLUSTER) in web.view.get(LDS, "virtualInbound").uses  # type: ignore[union-attr]


def test_a_service_is_told_the_limits_that_name_one_of_its_namespace() -> None:
    mesh = Mesh()
    counting, elsewhere = counting_service(mesh), counting_service(mesh, "other")
    users = {"perValue": {"header": "x-user", "overrides": [{"value": "vip", "limit": {"requests": 9, "per": "1h"}}]}, "limit": FIVE}
    callers = {
        "name": "callers",
        "perValue": {"source": "Principal", "overrides": [{"value": "cluster.local/ns/a/sa/b", "limit": FIVE}]},
        "limit": FIVE,
    }
    apply(mesh, RLS, rate_limit("x", {"limit": {"requests": 1, "per": "1s"}}, users, callers, **{"global": GLOBAL}), rate_limit("local"))

    five = {"unit": "MINUTE", "requestsPerUnit": 5}
    assert domains(elsewhere) == {}
    assert domains(counting) == {
        "shop/x": [
            {"key": "rule", "value": "0", "rateLimit": {"unit": "SECOND", "requestsPerUnit": 1}},
            {
                "key": "rule",
                "value": "1",
                "descriptors": [
                    {"key": "value", "value": "vip", "rateLimit": {"unit": "HOUR", "requestsPerUnit": 9}},
                    {"key": "value", "rateLimit": five},
                ],
            },
            {
                "key": "rule",
                "value": "callers",
                "descriptors": [
                    {"key": "value", "value": "spiffe://cluster.local/ns/a/sa/b", "rateLimit": five},
                    {"key": "value", "rateLimit": five},
                ],
            },
        ]
    }


def test_a_change_of_a_limit_concerns_its_own_domain_and_no_proxy() -> None:
    mesh = Mesh()
    counting = counting_service(mesh)
    sidecar(mesh)
    apply(mesh, RLS, rate_limit("x", **{"global": GLOBAL}), rate_limit("y", **{"global": GLOBAL}))
    parsed = parse(rate_limit("x", {"limit": {"requests": 6, "per": "1m"}}, **{"global": GLOBAL}))
    assert parsed.key

    mesh.apply(split([Change(parsed.key, parsed.usable(None))])[0])
    published = mesh.refresh()

    assert [dict(change.updated) for _, change in published.changes] == [{RATE_LIMIT_CONFIG: {"shop/x"}}]
    assert set(domains(counting)) == {"shop/x", "shop/y"}


def test_a_rate_limit_service_is_no_proxy_of_its_address() -> None:
    mesh = Mesh()
    apply(mesh, {**pod("web"), "status": {"podIP": "10.0.0.2"}})
    before = mesh.database.changes
    counting_service(mesh, "shop")

    assert not any(each.code == "NoIdentity" for each in mesh.problems())
    assert mesh.database.changes == before


def test_without_somebody_to_count_it_fails_as_it_says() -> None:
    mesh = Mesh()
    web = sidecar(mesh)

    apply(mesh, rate_limit(**{"global": GLOBAL}))
    assert (limited(web), problems(mesh)) == (False, [("global.service.host", "UnknownHost")])
    apply(mesh, rate_limit(failure="Closed", **{"global": GLOBAL}))
    assert limited(web)
    assert b"BlackHoleCluster" in web.view.get(LDS, "virtualInbound").value  # type: ignore[union-attr]
    apply(mesh, rate_limit(failure="Closed", mode="DryRun", **{"global": GLOBAL}))
    assert not limited(web)
    apply(mesh, RLS, rate_limit(**{"global": {"service": {**GLOBAL["service"], "port": 9}}}))
    assert problems(mesh) == [("global.service.port", "UnknownPort")]
    apply(mesh, rate_limit(**{"global": {"service": {**GLOBAL["service"], "port": 8080}}}))
    assert problems(mesh) == [("global.service.port", "WrongProtocol")]


def test_a_closed_form_refuses_what_it_is_for() -> None:
    mesh = Mesh()
    web, other = sidecar(mesh), sidecar(mesh, "other")

    apply(mesh, {**rate_limit(), "spec": {"failure": "Closed", "selector": {"matchLabels": {"app": "web"}}, "rules": [{}]}})

    assert (limited(web), limited(other)) == (True, False)


def test_conditions_that_envoy_would_refuse_for_their_length_never_get_there() -> None:
    mesh = Mesh()
    web = sidecar(mesh)
    headers = [{"name": f"x-{number}" + "a" * 200, "values": ["b" * 900] * 60} for number in range(2)]

    apply(mesh, rate_limit("x", {"match": {"headers": headers}, "limit": FIVE}))

    assert (limited(web), problems(mesh)) == (False, [("rules", "LargeExpression")])


def test_what_can_count_nothing_is_told() -> None:
    mesh = Mesh()
    peers = {"apiVersion": "security.istio.io/v1", "kind": "PeerAuthentication", "metadata": {"name": "no", "namespace": "shop"}}
    source = {"match": {"source": {"namespaces": ["a"]}}, "perValue": {"source": "Principal"}, "limit": FIVE}

    apply(mesh, pod("web"), service("tcp", {"app": "web"}, "tcp"), rate_limit("x", source, selector={"matchLabels": {"app": "no"}}))
    assert problems(mesh) == [("selector", "NoWorkload")]
    apply(mesh, {**peers, "spec": {"mtls": {"mode": "DISABLE"}}}, rate_limit("x", source, selector={"matchLabels": {"app": "web"}}))
    assert problems(mesh) == [
        ("spec", "NotHttp"),
        ("rules[0].match.source", "NeverMatches"),
        ("rules[0].perValue.source", "Ineffective"),
    ]
