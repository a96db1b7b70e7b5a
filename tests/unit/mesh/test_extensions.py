"""Users' own filters in the mesh: what a change of one touches, what stays while a module is not there, and what is told."""

from __future__ import annotations

import io
import json
from dataclasses import replace

import pytest
from envoy.config.core.v3.extension_pb2 import TypedExtensionConfig
from envoy.config.listener.v3.listener_pb2 import Listener
from envoy.extensions.filters.http.wasm.v3.wasm_pb2 import Wasm

from controlplane.envoy.type_urls import CDS, ECDS, LDS
from controlplane.mesh.facts import FetchedModule
from controlplane.mesh.mesh import Mesh, Published
from controlplane.mesh.sessions import Session
from controlplane.model.identity import Identity
from controlplane.model.keys import WASM_PLUGIN, Key
from controlplane.model.proxies import proxy_from_node
from controlplane.objects.changes import MeshChange, split
from controlplane.objects.extensions.modules import Module, ModuleSource
from controlplane.sources.files.once import read_manifests
from controlplane.xds.stream import Variant

URL = "https://modules.example/one.wasm"
NAME = "wasmplugin/http/shop.one"
MODULE = Module("a" * 64, 3, b"one")
SERVICE = """
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {clusterIP: 10.0.0.80, selector: {app: web}, ports: [{name: http, port: 80, targetPort: 8080}]}
---
apiVersion: v1
kind: Pod
metadata: {name: web-1, namespace: shop, labels: {app: web}}
status: {podIP: 10.1.0.1, podIPs: [{ip: 10.1.0.1}], phase: Running}
---
"""


class World:
    """A mesh, and a sidecar in it for each of some namespaces."""

    def __init__(self, *namespaces: str, identified: bool = False) -> None:
        self.mesh = Mesh()
        self.apply(SERVICE)
        self.sessions = {namespace: self._connect(namespace, identified=identified) for namespace in namespaces or ("shop",)}
        self.mesh.refresh()

    def _connect(self, namespace: str, *, identified: bool) -> Session:
        node = f"sidecar~10.1.0.1~web-1.{namespace}~{namespace}.svc.cluster.local"
        proxy = proxy_from_node(node, {"LABELS": {"app": "web"}})
        if identified:
            proxy = replace(proxy, identity=Identity("cluster.local", namespace, "web"))
        return self.mesh.connect(proxy, Variant.DELTA)

    def apply(self, text: str) -> Published:
        _, changes = read_manifests(["-"], io.BytesIO(text.encode()))
        for_mesh, _ = split(changes)
        self.mesh.apply(for_mesh)
        return self.mesh.refresh()

    def fetched(self, source: ModuleSource, module: Module | None, failure: str = "") -> Published:
        self.mesh.apply([FetchedModule(source, module, failure)])
        return self.mesh.refresh()

    def program(self, namespace: str = "shop", name: str = NAME) -> Wasm | None:
        resource = self.sessions[namespace].view.get(ECDS, name)
        if resource is None:
            return None
        found = Wasm()
        assert TypedExtensionConfig.FromString(resource.value).typed_config.Unpack(found)
        return found

    def listens_with(self, namespace: str, name: str) -> list[str]:
        """Return the listeners that name the filter."""
        found = self.sessions[namespace].view.resources(LDS)
        return sorted(resource.name for resource in found if (ECDS, name) in resource.uses)


def plugin(name: str = "one", namespace: str = "shop", url: str = URL, **spec: object) -> str:
    return json.dumps(
        {
            "apiVersion": "extensions.istio.io/v1alpha1",
            "kind": "WasmPlugin",
            "metadata": {"name": name, "namespace": namespace},
            "spec": {"url": url, **spec},
        }
    )


def changed(published: Published) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for _, change in published.changes:
        for type_url, names in (*change.updated.items(), *change.removed.items()):
            found.setdefault(type_url, set()).update(names)
    return found


def test_a_module_and_a_configuration_change_nothing_but_what_the_filter_runs() -> None:
    world = World()
    first = world.apply(plugin(pluginConfig={"a": 1}))
    came = world.fetched(ModuleSource(URL), MODULE)
    configured = world.apply(plugin(pluginConfig={"a": 2}))

    assert first.wanted.modules == frozenset({ModuleSource(URL)})
    assert LDS in changed(first)
    assert ECDS not in changed(first)
    assert changed(came) == changed(configured) == {ECDS: {NAME}}
    program = world.program()
    assert program
    assert program.config.vm_config.code.local.inline_bytes == b"one"
    assert program.config.vm_config.vm_id == NAME


def test_while_a_new_module_is_not_there_the_earlier_one_stays_for_everybody() -> None:
    world = World()
    world.apply(plugin())
    world.fetched(ModuleSource(URL), MODULE)

    moved = world.apply(plugin(url="https://modules.example/two.wasm"))
    failed = world.fetched(ModuleSource("https://modules.example/two.wasm"), None, "nobody answers")

    assert (changed(moved), changed(failed)) == ({}, {})
    program = world.program()
    assert program
    assert program.config.vm_config.code.local.inline_bytes == b"one"
    assert [problem.message for problem in world.mesh.problems()] == [
        "the module cannot be fetched: nobody answers; until it comes, requests are answered 503, but by proxies that have an earlier one"
    ]


def test_a_namespaces_filter_is_nobody_elses_and_the_root_namespaces_is_everybodys() -> None:
    world = World("shop", "other")
    world.apply(plugin("own", "shop", "file:///own.wasm"))
    touched = world.apply(plugin("root", "istio-system", "file:///root.wasm", match=[{"mode": "SERVER"}]))

    assert world.listens_with("other", "wasmplugin/http/shop.own") == []
    assert world.program("other", "wasmplugin/http/shop.own") is None
    for namespace in ("shop", "other"):
        assert world.listens_with(namespace, "wasmplugin/http/istio-system.root") == ["virtualInbound"]
        assert world.program(namespace, "wasmplugin/http/istio-system.root")
    assert changed(touched) == {LDS: {"virtualInbound"}, ECDS: {"wasmplugin/http/istio-system.root"}}


def test_a_port_that_no_service_names_has_a_chain_of_its_own_for_a_filter() -> None:
    world = World()
    world.apply(plugin(url="file:///one.wasm", match=[{"mode": "SERVER", "ports": [{"number": 9999}]}]))

    resource = world.sessions["shop"].view.get(LDS, "virtualInbound")
    assert resource
    chains = Listener.FromString(resource.value).filter_chains
    with_filter = {chain.filter_chain_match.destination_port.value for chain in chains if NAME.encode() in chain.SerializeToString()}
    assert with_filter == {9999}


def test_a_large_module_comes_from_the_control_plane_and_goes_to_those_alone_that_have_a_certificate() -> None:
    large = Module("b" * 64, 5 << 20, None, "navarch.example:15016")
    world, anonymous = World(identified=True), World()
    for each in (world, anonymous):
        each.apply(plugin())
        each.fetched(ModuleSource(URL), large)

    program = world.program()
    assert program
    remote = program.config.vm_config.code.remote
    assert (remote.http_uri.uri, remote.http_uri.cluster, remote.sha256) == (
        f"https://navarch.example:15016/modules/{'b' * 64}.wasm",
        "navarch-modules",
        "b" * 64,
    )
    assert world.sessions["shop"].view.get(CDS, "navarch-modules")
    assert anonymous.program() is None
    assert anonymous.sessions["shop"].view.get(CDS, "navarch-modules") is None


@pytest.mark.parametrize("strategy", ["FAIL_CLOSE", "FAIL_OPEN", "FAIL_RELOAD"])
@pytest.mark.parametrize("level", ["HTTP", "NETWORK"])
def test_what_is_told_of_a_module_that_is_not_there_says_what_becomes_of_traffic(strategy: str, level: str) -> None:
    world = World()
    world.apply(plugin(failStrategy=strategy, type=level))
    world.fetched(ModuleSource(URL), None, "nobody answers")

    [problem] = world.mesh.problems()
    effect = "traffic passes" if strategy == "FAIL_OPEN" else "connections are closed" if level == "NETWORK" else "answered 503"
    assert (problem.object, problem.field, problem.code) == (WASM_PLUGIN.key("shop", "one"), "spec.url", "NoModule")
    assert effect in problem.message


MIXED = """
apiVersion: v1
kind: Service
metadata: {name: db, namespace: shop}
spec:
  selector: {app: web}
  ports: [{name: tcp-sql, port: 5432, targetPort: 6000}, {name: http, port: 80, targetPort: 8080}, {name: any, port: 81}]
"""


@pytest.mark.parametrize(
    ("match", "fields"),
    [
        ({"mode": "SERVER", "ports": [{"number": 6000}]}, ["spec.match[0].ports[0]"]),
        ({"mode": "CLIENT", "ports": [{"number": 5432}]}, ["spec.match[0].ports[0]"]),
        ({"ports": [{"number": 8080}, {"number": 6000}]}, ["spec.match[0].ports[1]"]),
        ({"mode": "SERVER", "ports": [{"number": 8080}]}, []),
        ({"mode": "SERVER", "ports": [{"number": 81}]}, []),  # nobody has said what it carries
        ({"mode": "CLIENT", "ports": [{"number": 80}]}, []),
        ({"mode": "SERVER", "ports": [{"number": 9999}]}, []),  # of no service: Envoy finds out
    ],
)
def test_a_filter_of_requests_on_a_port_without_any_is_told(match: dict[str, object], fields: list[str]) -> None:
    world = World()
    world.apply(MIXED)

    world.apply(plugin(url="file:///one.wasm", match=[match]))
    found = [problem for problem in world.mesh.problems() if problem.object == WASM_PLUGIN.key("shop", "one")]
    world.apply(plugin(url="file:///one.wasm", match=[match], type="NETWORK"))

    assert [(problem.field, problem.code) for problem in found] == [(field, "NotHttp") for field in fields]
    assert all("5432 of db.shop.svc.cluster.local: not HTTP" in problem.message for problem in found)
    assert [problem for problem in world.mesh.problems() if problem.code == "NotHttp"] == []


def test_a_port_that_becomes_http_takes_the_problem_away() -> None:
    world = World()
    world.apply(MIXED)
    world.apply(plugin(url="file:///one.wasm", match=[{"mode": "SERVER", "ports": [{"number": 6000}]}]))

    world.apply(MIXED.replace("tcp-sql", "http-sql"))

    assert [problem for problem in world.mesh.problems() if problem.code == "NotHttp"] == []


def test_a_plugin_that_is_gone_takes_its_module_with_it() -> None:
    world = World()
    world.apply(plugin())
    world.fetched(ModuleSource(URL), MODULE)

    key: Key = WASM_PLUGIN.key("shop", "one")
    world.mesh.apply([MeshChange(key, None)])
    gone = world.mesh.refresh()

    assert gone.wanted.modules == frozenset()
    assert world.program() is None
    assert world.listens_with("shop", NAME) == []
