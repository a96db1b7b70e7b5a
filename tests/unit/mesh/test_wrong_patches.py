"""Wrong patches of EnvoyFilters: each is named by its field, and nothing but that patch is without effect."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache

import pytest

from controlplane.mesh.snapshot import Snapshot, snapshot
from controlplane.model.problems import Problem
from controlplane.model.proxies import proxy_from_node
from controlplane.sources.files.folder import ManifestFolder
from controlplane.sources.files.manifest import parse_file

Json = Mapping[str, object]
PREFIX = "type.googleapis.com/"
TYPES = f"{PREFIX}envoy."
MANAGER = "envoy.filters.network.http_connection_manager"
ROUTER: Json = {"filter": {"name": MANAGER, "subFilter": {"name": "envoy.filters.http.router"}}}
ISTIO_ALPN: Json = {"name": MANAGER, "subFilter": {"name": "istio.alpn"}}
OUTBOUND = "SIDECAR_OUTBOUND"
WEB = "web.default.svc.cluster.local"
WORLD = [
    {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {"ports": [{"name": "http", "port": 80}]},
    },
]
GOOD: Json = {
    "applyTo": "CLUSTER",
    "match": {"context": OUTBOUND, "cluster": {"service": WEB}},
    "patch": {"operation": "MERGE", "value": {"connect_timeout": "3s"}},
}


def patch(apply_to: str, operation: str, value: Json | None = None, **match: object) -> Json:
    written = {"operation": operation, **({} if value is None else {"value": value})}
    return {"applyTo": apply_to, "match": {"context": OUTBOUND, **match}, "patch": written}


def lua(**more: object) -> Json:
    return {"name": "lua", "typed_config": {"@type": f"{TYPES}extensions.filters.http.lua.v3.Lua", **more}}


def http(operation: str, value: Json | None = None) -> Json:
    return patch("HTTP_FILTER", operation, value, listener={"filterChain": ROUTER})


def typed(type_url: str) -> Json:
    return http("INSERT_BEFORE", {"name": "a", "typed_config": {"@type": type_url}})


def manager(**fields: object) -> Json:
    config = {"@type": f"{TYPES}extensions.filters.network.http_connection_manager.v3.HttpConnectionManager", **fields}
    return patch("NETWORK_FILTER", "MERGE", {"typed_config": config}, listener={"filterChain": {"filter": {"name": MANAGER}}})


def cluster(operation: str, **fields: object) -> Json:
    return patch("CLUSTER", operation, fields, **({"cluster": {"service": WEB}} if operation == "MERGE" else {}))


def listener(port: int) -> Json:
    address = {"socket_address": {"address": "0.0.0.0", "port_value": port}}
    return patch("LISTENER", "ADD", {"name": "added", "address": address, "filter_chains": [{"filters": [ECHO]}]})


def host(*domains: str, operation: str = "ADD", name: str = "added") -> Json:
    routes = [{"match": {"prefix": "/"}, "direct_response": {"status": 200}}]
    return patch("VIRTUAL_HOST", operation, {"name": name, "domains": domains, "routes": routes}, routeConfiguration={"name": "80"})


def route(**fields: object) -> Json:
    return patch("HTTP_ROUTE", "INSERT_FIRST", fields, routeConfiguration={"name": "80"})


ECHO = {"name": "echo", "typed_config": {"@type": f"{TYPES}extensions.filters.network.echo.v3.Echo"}}
SNIFFED = {"application_protocols": ["http/1.1", "h2c"]}
EDS: Json = {"eds_config": {"ads": {}}}
STATIC = {"type": "STATIC", "load_assignment": {"cluster_name": "c", "endpoints": []}}
TO_A_NAME = [{"lb_endpoints": [{"endpoint": {"address": {"socket_address": {"address": "a.example", "port_value": 1}}}}]}]
# What is wrong with the object alone: the patch, the field below it that is named, and words of the message.
ALONE: dict[str, tuple[Json, str, str]] = {
    "a field that is none": (manager(stat_prefixx="a"), "patch.value.typed_config.stat_prefixx", "perhaps stat_prefix is meant"),
    "a word that is none": (manager(codec_type="HTTP9"), "patch.value.typed_config.codec_type", "AUTO, HTTP1, HTTP2, HTTP3"),
    "no duration": (cluster("MERGE", connect_timeout="3"), "patch.value.connect_timeout", "a duration such as 1.5s"),
    "no number": (cluster("MERGE", max_requests_per_connection="many"), "patch.value.max_requests_per_connection", "a whole number"),
    "no list": (cluster("MERGE", health_checks={}), "patch.value.health_checks", "expected a list"),
    "no object": (cluster("MERGE", load_assignment=[]), "patch.value.load_assignment", "expected an object"),
    "no boolean": (manager(use_remote_address="yes"), "patch.value.typed_config.use_remote_address", "true or false"),
    "a type that is none": (typed(f"{TYPES}no.v3.Such"), "patch.value.typed_config.@type", "TypedStruct"),
    "no type": (http("INSERT_BEFORE", {"name": "a", "typed_config": {"inline_code": "a"}}), "patch.value.typed_config.@type", "@type"),
    "a type of v2": (typed(f"{TYPES}config.filter.http.lua.v2.Lua"), "patch.value.typed_config.@type", "the v2 API"),
    "no configuration": (http("INSERT_BEFORE", {"name": "a"}), "patch.value.typed_config", "its @type"),
    "a filter of Istio's": (http("INSERT_BEFORE", {"name": "istio.stats"}), "patch.value.name", "the Telemetry API"),
    "a type of Istio's": (
        typed("type.googleapis.com/io.istio.http.peer_metadata.Config"),
        "patch.value.typed_config",
        "no stock Envoy has",
    ),
    "beside a filter of Istio's": (
        patch("HTTP_FILTER", "INSERT_BEFORE", lua(), listener={"filterChain": {"filter": ISTIO_ALPN}}),
        "match.listener.filterChain.filter.subFilter.name",
        "no stock Envoy has",
    ),
    "a constraint": (cluster("MERGE", connect_timeout="-1s"), "patch.value.connect_timeout", "a duration > 0s"),
    "something missing": (patch("VIRTUAL_HOST", "ADD", {"name": "a"}), "patch.value.domains", "at least 1"),
    "no replacing": (cluster("REPLACE", name="a"), "patch.operation", "expected one of ADD, MERGE"),
    "no adding": (patch("ROUTE_CONFIGURATION", "ADD", {"name": "a"}), "patch.operation", "expected one of MERGE"),
    "an expression": (route(match={"safe_regex": {"regex": "("}}, direct_response={"status": 200}), "patch.value", "RE2"),
    "two of a choice": (
        route(match={"prefix": "/", "path": "/"}, redirect={}),
        "patch.value.match.prefix",
        "at most one of",
    ),
    "another match": (patch("HTTP_FILTER", "ADD", lua(), cluster={"name": "a"}), "match.cluster", "not matched by cluster"),
    "no name": (patch("HTTP_FILTER", "REMOVE"), "match.listener.filterChain.filter.subFilter.name", "which filter"),
    "a version": (patch("CLUSTER", "REMOVE", proxy={"proxyVersion": "("}), "match.proxy.proxyVersion", "RE2"),
    "a name of a port": (patch("LISTENER", "REMOVE", listener={"portName": "http"}), "match.listener.portName", "portNumber"),
}
# What is wrong with what comes of a patch.
APPLIED: dict[str, tuple[Json, str, str]] = {
    "after the router": (http("INSERT_AFTER", lua()), "patch.value", "no HTTP filter can come after"),
    "without the router": (http("REMOVE"), "patch.operation", "sends requests nowhere"),
    "a name of ours": (cluster("ADD", name=f"outbound|80||{WEB}", **STATIC), "patch.value", "a name of ours"),
    "a name of a plugin": (
        patch("EXTENSION_CONFIG", "ADD", {**lua(), "name": "wasmplugin/http/a.b"}),
        "patch.value",
        "a name of ours",
    ),
    "endpoints of nobody's": (cluster("ADD", name="c", type="EDS", eds_cluster_config=EDS), "patch.value", "STRICT_DNS"),
    "an endpoint that is no address": (
        cluster("ADD", name="c", type="STATIC", load_assignment={"cluster_name": "c", "endpoints": TO_A_NAME}),
        "patch.value",
        "a.example is no IP address",
    ),
    "a port of the proxy's": (listener(15001), "patch.value", "the proxy's own"),
    "an address twice": (listener(80), "patch.value", "is there already"),
    "a domain twice": (host(WEB), "patch.value", "another virtual host's"),
    "another name": (cluster("MERGE", name="other"), "patch.value", "name of a cluster cannot be changed"),
    "types that do not fit": (cluster("MERGE", type="ORIGINAL_DST"), "patch.value", "type EDS"),
    "a chain twice": (
        patch("FILTER_CHAIN", "ADD", {"filter_chain_match": SNIFFED, "filters": [ECHO]}, listener={"name": "0.0.0.0_80"}),
        "patch.value",
        "two filter chains are for the same connections",
    ),
}


@cache
def shown(*patches: str) -> tuple[Snapshot, tuple[Problem, ...]]:
    """Return what a sidecar gets by an EnvoyFilter of ``patches``, and what is wrong with this."""
    spec = {"configPatches": [json.loads(each) for each in patches]}
    head = {"apiVersion": "networking.istio.io/v1alpha3", "kind": "EnvoyFilter", "metadata": {"name": "f", "namespace": "istio-system"}}
    text = "\n---\n".join(json.dumps(each) for each in (*WORLD, {**head, "spec": spec}))
    folder = ManifestFolder()
    changes = folder.take({"a.yaml": parse_file(text)}, 0)
    of_files = [located.problem for problems in folder.problems_by_document() for located in problems]
    found = snapshot(changes, proxy_from_node("sidecar~10.0.0.1~client.default~default.svc.cluster.local", {"LABELS": {}}))
    return found, tuple(each for each in (*of_files, *found.problems) if each.object and each.object.kind == "EnvoyFilter")


@pytest.mark.parametrize("what", [*ALONE, *APPLIED])
def test_a_wrong_patch_is_named_and_alone_without_effect(what: str) -> None:
    wrong, field, words = {**ALONE, **APPLIED}[what]
    alone, _ = shown(json.dumps(GOOD))

    found, problems = shown(json.dumps(wrong), json.dumps(GOOD))

    assert {problem.field for problem in problems} == {f"spec.configPatches[0].{field}"}, problems
    assert words in problems[0].message
    assert found.resources == alone.resources


def test_a_good_patch_alone_has_no_problem_and_an_effect() -> None:
    found, problems = shown(json.dumps(GOOD))

    patched = [each for each in found.resources["clusters"] if each["name"] == f"outbound|80||{WEB}"]
    assert problems == ()
    assert [each["connectTimeout"] for each in patched] == ["3s"]
