"""Which metrics proxies count by the mesh's settings and by Telemetries, and what certificates say for it."""

from __future__ import annotations

from dataclasses import replace
from typing import cast

import pytest
from envoy.config.listener.v3.listener_pb2 import Listener
from google.protobuf import json_format
from xds.type.v3.typed_struct_pb2 import TypedStruct

from controlplane.envoy.packing import expand
from controlplane.envoy.type_urls import CDS, EDS, LDS
from controlplane.mesh.mesh import Mesh
from controlplane.mesh.sessions import Session
from controlplane.model.envoy_versions import EnvoyVersion
from controlplane.model.identity import Identity
from controlplane.model.proxies import proxy_from_node
from controlplane.model.telemetry.workloads import workload_names
from controlplane.objects.changes import Change, split
from controlplane.objects.parse import parse
from controlplane.xds.stream import Variant

Written = dict[str, object]
NOTING = frozenset(("envoy.filters.network.set_filter_state",))
LABELS = {"app": "web", "version": "v1", "pod-template-hash": "5d4f"}
ALL = {
    *("istio_requests_total", "istio_request_duration_milliseconds", "istio_request_bytes", "istio_response_bytes"),
    *("istio_tcp_connections_opened_total", "istio_tcp_connections_closed_total", "istio_tcp_sent_bytes_total"),
    "istio_tcp_received_bytes_total",
}


def written(kind: str, namespace: str, name: str, version: str = "v1", /, **more: object) -> Written:
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name, "namespace": namespace}, **more}


def settings(text: str = "defaultProviders: {metrics: [prometheus]}", **annotations: str) -> Written:
    metadata = {"name": "istio", "namespace": "istio-system", "annotations": annotations}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"mesh": text}}


def telemetry(namespace: str, name: str = "all", /, *overrides: Written, **entry: object) -> Written:
    metrics = [{**({"overrides": list(overrides)} if overrides else {}), **entry}]
    return written("Telemetry", namespace, name, "telemetry.istio.io/v1", spec={"metrics": metrics})


def mesh_of(*documents: Written) -> Mesh:
    owner = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web-v1-5d4f", "uid": "a", "controller": True}
    pod = written("Pod", "shop", "web-1", spec={"serviceAccountName": "web"}, status={"phase": "Running", "podIP": "10.0.0.1"})
    cast("dict[str, object]", pod["metadata"]).update({"labels": LABELS, "ownerReferences": [owner]})
    web = written(
        "Service", "shop", "web", spec={"selector": {"app": "web"}, "ports": [{"name": "http", "port": 80}, {"name": "tcp", "port": 90}]}
    )
    parsed = [parse(document) for document in (pod, web, *documents)]
    assert all(each.object for each in parsed), parsed
    mesh = Mesh()
    mesh.apply(split(Change(each.key, each.object) for each in parsed if each.key)[0])
    return mesh


def session_of(mesh: Mesh, envoy: EnvoyVersion | None = None) -> Session:
    proxy = proxy_from_node("sidecar~10.0.0.1~web-1.shop~shop.svc.cluster.local", {"WORKLOAD_NAME": "admin"})
    session = mesh.connect(replace(proxy, envoy=envoy), Variant.SOTW)
    assert mesh.refresh().failed == ()
    return session


def counted(session: Session, direction: str) -> dict[str, dict[str, str]]:
    """Return the metrics that listeners of ``direction`` count, each with the formats of its labels."""
    found: dict[str, dict[str, str]] = {}
    for resource in session.view.resources(LDS):
        listener = Listener.FromString(resource.value)
        if json_format.MessageToDict(listener).get("trafficDirection") == direction:
            found |= dict(_counted_by(expand(LDS, resource.value)))
    return found


def _counted_by(value: object) -> list[tuple[str, dict[str, str]]]:
    if isinstance(value, list):
        return [pair for each in value for pair in _counted_by(each)]
    if not isinstance(value, dict):
        return []
    if value.get("@type", "").endswith(TypedStruct.DESCRIPTOR.full_name) and "stats_scope" in value["value"]:
        stats = [each["stat"] for kind in ("counters", "histograms") for each in value["value"].get(kind, ())]
        return [(stat["name"], {tag["name"]: tag["value_format"] for tag in stat["tags"]}) for stat in stats]
    return [pair for each in value.values() for pair in _counted_by(each)]


def test_nothing_is_counted_by_labels_and_nobody_is_named_unless_it_is_asked_for() -> None:
    mesh = mesh_of()

    session = session_of(mesh)

    assert counted(session, "OUTBOUND") == counted(session, "INBOUND") == {}
    assert not any(b"navarch" in resource.value for kind in (CDS, EDS, LDS) for resource in session.view.resources(kind))
    assert mesh.counted_workloads.names_in_certificate(Identity("cluster.local", "shop", "web"), "web-1") is None


@pytest.mark.parametrize("documents", [[settings()], [telemetry("istio-system", providers=[{"name": "Prometheus"}])]])
def test_settings_or_a_telemetry_have_everything_counted_by_both_sides(documents: list[Written]) -> None:
    session = session_of(mesh_of(*documents))

    client, server = counted(session, "OUTBOUND"), counted(session, "INBOUND")
    assert client.keys() == server.keys() == ALL
    assert client["istio_requests_total"]["source_workload"] == "web-v1"
    assert client["istio_requests_total"]["destination_workload"] == "%UPSTREAM_METADATA(navarch:workload)%"
    assert server["istio_requests_total"]["destination_workload"] == "web-v1"
    assert "admin" not in str((client, server))


def test_an_envoy_that_cannot_count_by_labels_gets_no_listener_that_it_would_refuse() -> None:
    mesh = mesh_of(settings())

    old, new = session_of(mesh, EnvoyVersion(1, 39, 3)), session_of(mesh, EnvoyVersion(1, 40))

    assert counted(old, "OUTBOUND") == {}
    assert counted(new, "OUTBOUND").keys() == ALL


def test_later_overrides_win_metric_by_metric_and_label_by_label() -> None:
    mesh = mesh_of(
        settings(),
        telemetry(
            "istio-system",
            "all",
            {"disabled": True},
            {"match": {"metric": "REQUEST_COUNT"}, "tagOverrides": {"a": {"value": "request.host"}}},
        ),
        telemetry(
            "shop",
            "all",
            {"match": {"metric": "REQUEST_COUNT", "mode": "SERVER"}, "disabled": False},
            {"match": {"metric": "REQUEST_COUNT"}, "tagOverrides": {"reporter": {"operation": "REMOVE"}}},
        ),
    )

    session = session_of(mesh)

    assert counted(session, "OUTBOUND") == {}
    [(name, tags)] = counted(session, "INBOUND").items()
    assert name == "istio_requests_total"
    assert tags["a"] == "%CEL(request.host)%"
    assert "reporter" not in tags


def test_a_provider_that_is_not_prometheus_has_nothing_counted() -> None:
    session = session_of(mesh_of(settings(), telemetry("shop", providers=[{"name": "envoy"}])))

    assert counted(session, "OUTBOUND") == {}


def test_the_module_for_plain_names_is_left_out_where_the_settings_say_so() -> None:
    plain = session_of(mesh_of(settings()))
    prefixed = session_of(mesh_of(settings(**{"navarch.io/metric-names": "prefixed"})))

    assert any(b"envoy.access_loggers.wasm" in resource.value for resource in plain.view.resources(LDS))
    assert not any(b"envoy.access_loggers.wasm" in resource.value for resource in prefixed.view.resources(LDS))
    assert counted(prefixed, "OUTBOUND").keys() == ALL


def test_a_certificate_names_the_workload_of_the_pod_alone_that_runs_as_its_account() -> None:
    mesh = mesh_of(settings())
    session_of(mesh)

    def names(account: str, pod: str) -> object:
        return mesh.counted_workloads.names_in_certificate(Identity("cluster.local", "shop", account), pod)

    assert names("web", "web-1") == workload_names("web-v1", "shop", LABELS)
    assert [names("other", "web-1"), names("web", "web-2"), names("web", "")] == [None] * 3


def test_workloads_of_a_namespace_share_all_but_their_listeners_and_what_they_serve() -> None:
    mesh = mesh_of(settings())
    first = session_of(mesh)
    other = mesh.connect(
        proxy_from_node("sidecar~10.0.0.2~other-1.shop~shop.svc.cluster.local", {"LABELS": {"app": "other"}}), Variant.SOTW
    )
    mesh.refresh()

    shared = [table for table in first.view.tables if table in other.view.tables]

    assert len(shared) == 1
    assert any(shared[0].of_type(CDS))


@pytest.mark.parametrize(
    ("expression", "wanted", "told"),
    [
        ("request.host", "%CEL(request.host)%", []),
        ("downstream_peer.workload", "%FILTER_STATE(navarch.peer.workload:PLAIN)%", []),
        ("filter_state.upstream_peer.namespace", "%UPSTREAM_METADATA(navarch:workload_namespace)%", []),
        ("node.id == 'node.id' ? 'a' : 'b'", "%CEL(xds.node.id == 'node.id' ? 'a' : 'b')%", []),
        (
            "upstream_peer.app == 'a' ? 'a' : 'b'",
            "%CEL(xds.upstream_host_metadata.filter_metadata['navarch']['app'] == 'a' ? 'a' : 'b')%",
            [],
        ),
        ("downstream_peer.app == 'a' ? 'a' : 'b'", "%CEL(downstream_peer.app == 'a' ? 'a' : 'b')%", ["NotTranslated"]),
    ],
)
def test_a_label_is_set_by_what_stock_envoy_has(expression: str, wanted: str, told: list[str]) -> None:
    override = {"match": {"metric": "REQUEST_COUNT"}, "tagOverrides": {"own": {"value": expression}}}
    document = telemetry("shop", "all", override, providers=[{"name": "prometheus"}])

    session = session_of(mesh_of(document))

    assert counted(session, "INBOUND")["istio_requests_total"]["own"] == wanted
    assert [problem.code for problem in parse(document).problems] == told


@pytest.mark.parametrize(
    "expression", ["request.host ==", "size(request.path)%2 == 1", "string(request.size)", "request.headers.exists(x, true)"]
)
def test_a_label_that_would_cost_a_listener_is_refused(expression: str) -> None:
    override = {"match": {"metric": "REQUEST_COUNT"}, "tagOverrides": {"own": {"value": expression}}}

    parsed = parse(telemetry("shop", "all", override))

    assert parsed.object is None
    assert [problem.field for problem in parsed.problems] == ["spec.metrics[0].overrides[0].tagOverrides.own.value"]


def test_what_nothing_comes_of_is_told() -> None:
    overrides = [{"match": {"metric": "GRPC_REQUEST_MESSAGES"}, "disabled": True}, {"match": {"customMetric": "own"}, "disabled": True}]
    document = telemetry("shop", "all", *overrides, reportingInterval="10s")
    mesh = mesh_of(document)
    mesh.refresh()

    told = {problem.field for problem in (*parse(document).problems, *mesh.problems())}

    assert told >= {
        "spec.metrics[0].overrides[0].match.metric",
        "spec.metrics[0].overrides[1].match.customMetric",
        "spec.metrics[0].reportingInterval",
        "spec.metrics",
    }


@pytest.mark.parametrize("lacking", [frozenset[str](), frozenset(("envoy.filters.http.cors",))])
def test_a_change_of_what_is_counted_reaches_listeners_though_they_use_what_is_in_another_table(lacking: frozenset[str]) -> None:
    mesh = mesh_of(settings(), telemetry("shop", "none", {"disabled": False}))
    proxy = proxy_from_node("sidecar~10.0.0.1~web-1.shop~shop.svc.cluster.local", {})
    session = mesh.connect(replace(proxy, lacking=lacking), Variant.SOTW)
    mesh.refresh()
    assert counted(session, "OUTBOUND").keys() == ALL
    none = parse(telemetry("shop", "none", {"disabled": True}))
    assert none.key is not None

    mesh.apply(split([Change(none.key, none.object)])[0])
    mesh.refresh()

    assert counted(session, "OUTBOUND") == counted(session, "INBOUND") == {}


def test_a_build_without_the_filter_that_notes_who_the_peer_is_lets_everybody_in_as_before_and_counts_them_as_unknown() -> None:
    mesh = mesh_of(settings())
    proxy = proxy_from_node("sidecar~10.0.0.1~web-1.shop~shop.svc.cluster.local", {})
    known, lacking = (
        replace(proxy, identity=Identity("cluster.local", "shop", "web"), lacking=names) for names in (frozenset[str](), NOTING)
    )

    stock, other = (mesh.connect(each, Variant.SOTW) for each in (known, lacking))
    mesh.refresh()

    chains = [[len(chain.filters) for chain in _inbound(session).filter_chains] for session in (stock, other)]
    assert sum(chains[0]) > sum(chains[1])
    assert all(chains[1])
    assert b"set_filter_state" not in _inbound(other).SerializeToString()
    assert counted(other, "INBOUND") == counted(stock, "INBOUND")


def _inbound(session: Session) -> Listener:
    found = session.view.get(LDS, "virtualInbound")
    assert found is not None
    return Listener.FromString(found.value)
