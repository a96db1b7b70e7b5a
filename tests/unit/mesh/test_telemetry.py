"""Which Telemetries hold for a proxy, how what they say is merged, and what a change of one costs."""

from __future__ import annotations

import json

import pytest
from envoy.config.listener.v3.listener_pb2 import Listener
from envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2 import HttpConnectionManager

from controlplane.envoy.type_urls import CDS, LDS
from controlplane.ir.telemetry.access_logs import FileLog, TextFormat
from controlplane.ir.telemetry.listeners import Side
from controlplane.ir.telemetry.traces import SpanFormat, SpanLiteral
from controlplane.mesh.mesh import Mesh
from controlplane.mesh.telemetry.access_logs import access_logs, chosen_logs
from controlplane.mesh.telemetry.selection import TelemetryScope, effective_telemetries, reporter
from controlplane.mesh.telemetry.tracing import merged_tracing, tracing
from controlplane.model.envoy_versions import EnvoyVersion
from controlplane.model.keys import TELEMETRY_KIND
from controlplane.model.proxies import proxy_from_node
from controlplane.objects.changes import Change, split
from controlplane.objects.parse import parse
from controlplane.xds.stream import Variant

Written = dict[str, object]
WEB = (("app", "web"), ("version", "v1"))
CLIENT, SERVER = Side.CLIENT, Side.SERVER


def telemetry(name: str, namespace: str = "shop", *, created: str = "", labels: Written | None = None, **spec: object) -> Written:
    metadata = {"name": name, "namespace": namespace, **({"creationTimestamp": created} if created else {})}
    selected = {"selector": {"matchLabels": labels}} if labels else {}
    return {"apiVersion": "telemetry.istio.io/v1", "kind": "Telemetry", "metadata": metadata, "spec": {**selected, **spec}}


def settings(**mesh: object) -> Written:
    metadata = {"name": "istio", "namespace": "istio-system"}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"mesh": json.dumps(mesh)}}


def logs(*names: str, **more: object) -> Written:
    return {**({"providers": [{"name": name} for name in names]} if names else {}), **more}


def service(name: str, *ports: Written) -> Written:
    metadata = {"name": name, "namespace": "receivers"}
    return {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": {"clusterIP": "10.0.0.1", "ports": list(ports)}}


def mesh_of(*documents: Written) -> Mesh:
    mesh = Mesh()
    apply(mesh, *documents)
    return mesh


def apply(mesh: Mesh, *documents: Written) -> None:
    parsed = [parse(document) for document in documents]
    assert all(each.object for each in parsed), [each.problems for each in parsed]
    mesh.apply(split(Change(each.key, each.object) for each in parsed if each.key)[0])


def holding(mesh: Mesh, namespace: str, labels: tuple[tuple[str, str], ...] = WEB) -> list[str]:
    return [key.name for key in effective_telemetries(mesh.database, namespace, labels)]


def chosen(mesh: Mesh, side: Side = CLIENT) -> dict[str, str] | None:
    found = chosen_logs(mesh.database, effective_telemetries(mesh.database, "shop", WEB), side)
    return None if found is None else {log.provider: log.condition for log in found}


def test_the_oldest_without_a_selector_of_the_root_and_of_the_namespace_hold_and_then_all_that_select() -> None:
    mesh = mesh_of(
        telemetry("root-young", "istio-system", created="2026-02-01T00:00:00Z"),
        telemetry("root-old", "istio-system", created="2026-01-01T00:00:00Z"),
        telemetry("root-selecting", "istio-system", labels={"app": "web"}),
        telemetry("shop-old", created="2026-01-02T00:00:00Z"),
        telemetry("shop-young", created="2026-01-03T00:00:00Z"),
        telemetry("web-young", created="2026-01-05T00:00:00Z", labels={"app": "web"}),
        telemetry("web-old", created="2026-01-04T00:00:00Z", labels={"version": "v1"}),
        telemetry("other", labels={"app": "cart"}),
        telemetry("gateway", targetRefs=[{"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "edge"}]),
    )

    assert holding(mesh, "shop") == ["root-old", "shop-old", "web-old", "web-young"]
    assert holding(mesh, "shop", (("gateway.networking.k8s.io/gateway-name", "edge"),)) == ["root-old", "shop-old", "gateway"]
    assert holding(mesh, "elsewhere") == ["root-old"]
    assert holding(mesh, "istio-system") == ["root-old", "root-selecting"]


def test_without_a_word_of_telemetries_and_default_providers_the_settings_decide() -> None:
    assert chosen(mesh_of(settings(accessLogFile="/dev/stdout"))) is None
    assert chosen(mesh_of(telemetry("all", tracing=[{}]))) is None
    assert chosen(mesh_of(settings(defaultProviders={"accessLogging": ["envoy"]}))) == {"envoy": ""}
    assert chosen(mesh_of(telemetry("all", accessLogging=[logs(disabled=True)]))) == {}


@pytest.mark.parametrize(
    ("own", "client", "server"),
    [
        ([logs("c")], {"c": ""}, {"c": ""}),
        ([logs("c"), logs("D")], {"c": "", "d": ""}, {"c": "", "d": ""}),
        ([logs(disabled=True)], {}, {}),
        ([logs("a", disabled=True)], {}, {}),
        ([logs(filter={"expression": "true"})], {"a": "true", "b": "true"}, {"a": "true", "b": "true"}),
        ([logs("a", filter={"expression": "true"}), logs("a", filter={"expression": "false"})], {"a": "false"}, {"a": "false"}),
        ([logs("c", match={"mode": "SERVER"})], {"a": "", "b": ""}, {"c": ""}),
        ([logs(disabled=True, match={"mode": "CLIENT"})], {}, {"a": "", "b": ""}),
        ([logs(disabled=True), logs()], {"a": "", "b": ""}, {"a": "", "b": ""}),
        ([], {"a": "", "b": ""}, {"a": "", "b": ""}),
    ],
)
def test_the_last_object_that_names_providers_replaces_those_before(
    own: list[Written], client: dict[str, str], server: dict[str, str]
) -> None:
    mesh = mesh_of(
        telemetry("all", "istio-system", accessLogging=[logs("a"), logs("b")]), telemetry("web", labels={"app": "web"}, accessLogging=own)
    )

    assert (chosen(mesh, CLIENT), chosen(mesh, SERVER)) == (client, server)


def test_traces_merge_field_by_field_and_tags_as_a_whole() -> None:
    mesh = mesh_of(
        settings(defaultProviders={"tracing": ["first", "second"]}),
        telemetry("all", "istio-system", tracing=[{"randomSamplingPercentage": 5, "customTags": {"a": {"literal": {"value": "1"}}}}]),
        telemetry("shop", tracing=[{"match": {"mode": "SERVER"}, "disableSpanReporting": True}, {"enableIstioTags": False}]),
        telemetry("web", labels={"app": "web"}, tracing=[logs("own", customTags={"b": {"literal": {"value": "2"}}})]),
    )
    keys = effective_telemetries(mesh.database, "shop", WEB)

    client, server = (merged_tracing(mesh.database, keys, side) for side in (CLIENT, SERVER))

    assert (client.provider, client.sampling, client.disabled, client.istio_tags) == ("own", 5, False, False)
    assert [name for name, _ in client.tags or ()] == ["b"]
    assert server == client._replace(disabled=True)


@pytest.mark.parametrize(
    ("written", "own", "share"),
    [(None, None, 1), (None, 20, 20), (None, 101, 1), (0, 20, 0), (33.5, None, 33.5)],
)
def test_the_share_of_sampled_requests_is_telemetrys_else_the_settings_else_one_percent(
    written: float | None, own: float | None, share: float
) -> None:
    entry = logs("collector", **({} if written is None else {"randomSamplingPercentage": written}))
    defaults: Written = {} if own is None else {"defaultConfig": {"tracing": {"sampling": own}}}
    mesh = mesh_of(collector(None, **defaults), grpc_service(), telemetry("all", "istio-system", tracing=[entry]))

    made = tracing(mesh.database, scope(mesh), CLIENT)

    assert made
    assert made.sampling == share


def test_an_older_envoy_is_told_what_it_knows() -> None:
    newer = "%PROTOCOL% %SPAN_ID% %UPSTREAM_TLS_GROUP%"
    files: Written = {"name": "file", "envoyFileAccessLog": {"path": "/x", "logFormat": {"text": newer}}}
    tags = {"format": {"formatter": {"value": newer}}, "literal": {"literal": {"value": "x"}}}
    mesh = mesh_of(
        collector(more=[files]),
        grpc_service(),
        telemetry("all", "istio-system", accessLogging=[logs("file")], tracing=[logs("collector", customTags=tags, enableIstioTags=False)]),
    )
    made = {}
    for minor in (36, 37, 38, None):
        told = scope(mesh)._replace(envoy=EnvoyVersion(1, minor) if minor else None)
        spans = tracing(mesh.database, told, CLIENT)
        assert spans
        [log] = access_logs(mesh.database, told, CLIENT)
        assert isinstance(log.sink, FileLog)
        made[minor] = (log.sink.format, dict(spans.tags))

    formats = {36: "%PROTOCOL% - -", 37: "%PROTOCOL% - -", 38: "%PROTOCOL% %SPAN_ID% -", None: newer}
    literal = {"literal": SpanLiteral("x")}
    assert {minor: fields for minor, (fields, _) in made.items()} == {minor: TextFormat(f"{text}\n") for minor, text in formats.items()}
    assert made[36][1] == literal
    assert all(made[minor][1] == literal | {"format": SpanFormat(formats[minor])} for minor in (37, 38, None))


def test_proxies_that_no_telemetry_tells_apart_share_their_listeners_and_a_change_of_another_costs_them_nothing() -> None:
    web = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": "shop"}}
    mesh = mesh_of(
        {**web, "spec": {"clusterIP": "10.0.0.2", "ports": [{"name": "http", "port": 80}]}},
        telemetry("all", "istio-system", accessLogging=[logs("envoy")]),
        telemetry("cart", labels={"app": "cart"}, accessLogging=[logs("envoy")]),
    )
    one, other, cart = (
        mesh.connect(
            proxy_from_node(f"sidecar~10.1.0.{at}~{app}-{at}.shop~shop.svc.cluster.local", {"LABELS": {"app": app}}), Variant.DELTA
        )
        for at, app in ((1, "web"), (2, "other"), (3, "cart"))
    )
    assert mesh.refresh().failed == ()
    assert one.view.tables[0] is other.view.tables[0]
    assert one.view.tables[0] is not cart.view.tables[0]

    apply(mesh, telemetry("cart", labels={"app": "cart"}, accessLogging=[logs("envoy", filter={"expression": "true"})]))
    published = mesh.refresh()

    assert {table for table, _ in published.changes} == set(cart.view.tables)


def test_the_providers_cluster_is_there_before_the_listener_whatever_a_sidecar_imports() -> None:
    sidecar = {"apiVersion": "networking.istio.io/v1", "kind": "Sidecar", "metadata": {"name": "none", "namespace": "shop"}}
    mesh = mesh_of(
        collector(),
        grpc_service(),
        {**sidecar, "spec": {"egress": [{"hosts": ["./*"]}]}},
        telemetry("all", "istio-system", tracing=[logs("collector", disableContextPropagation=True)]),
    )
    session = mesh.connect(proxy_from_node("sidecar~10.1.0.1~a.shop~shop.svc.cluster.local", {"LABELS": {"app": "web"}}), Variant.DELTA)
    assert mesh.refresh().failed == ()

    inbound = next(each for each in session.view.resources(LDS) if each.name == "virtualInbound")

    name = "inbound-telemetry|4317||collector.receivers.svc.cluster.local"
    assert {name, name.removeprefix("inbound-")} <= {each.name for each in session.view.resources(CDS)}
    assert (CDS, name) in inbound.uses
    managers = [
        HttpConnectionManager.FromString(each.typed_config.value)
        for chain in Listener.FromString(inbound.value).filter_chains
        for each in chain.filters
        if each.name.endswith("http_connection_manager")
    ]
    assert managers
    assert all(manager.tracing.SerializeToString().endswith(b"\x68\x01") for manager in managers)


def test_a_listener_that_is_there_takes_what_a_telemetry_says_later() -> None:
    web = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": "shop"}}
    mesh = mesh_of(collector(), grpc_service(), {**web, "spec": {"clusterIP": "10.0.0.2", "ports": [{"name": "http", "port": 80}]}})
    session = mesh.connect(proxy_from_node("sidecar~10.1.0.1~a.shop~shop.svc.cluster.local", {"LABELS": {"app": "web"}}), Variant.DELTA)
    mesh.refresh()
    assert not any(b"opentelemetry" in each.value for each in session.view.resources(LDS))

    apply(mesh, telemetry("all", "istio-system", tracing=[logs("collector")]))
    mesh.refresh()

    traced = {each.name for each in session.view.resources(LDS) if b"opentelemetry" in each.value}
    assert traced == {"virtualInbound", "0.0.0.0_80", "0.0.0.0_4317"}
    names = [each.name for each in session.view.resources(CDS)]
    assert len(names) == len(set(names))


def test_a_telemetry_for_whom_nothing_is_told_leaves_a_proxy_as_it_is() -> None:
    assert scope(mesh_of(telemetry("cart", labels={"app": "cart"}, tracing=[{}]))) == TelemetryScope()


def collector(more: list[Written] | None = None, **mesh: object) -> Written:
    provider = {"name": "collector", "opentelemetry": {"service": "collector.receivers.svc.cluster.local", "port": 4317}}
    return settings(extensionProviders=[provider, *(more or [])], **mesh)


def grpc_service() -> Written:
    return service("collector", {"name": "grpc", "port": 4317})


def scope(mesh: Mesh) -> TelemetryScope:
    proxy = proxy_from_node("sidecar~10.1.0.1~a.shop~shop.svc.cluster.local", {"LABELS": dict(WEB)})
    keys = effective_telemetries(mesh.database, "shop", WEB)
    assert all(key.group_kind == TELEMETRY_KIND for key in keys)
    return TelemetryScope(keys, reporter(mesh.database, proxy, WEB) if keys else None)
