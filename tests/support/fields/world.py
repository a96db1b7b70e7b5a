"""The mesh in which leaves are tried, and everything that comes of its objects: what each proxy is sent, and what else is read of them."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path

from controlplane.fleet.registrations import Registrations, probe_of
from controlplane.inject.inject import InjectionContext, InjectionOutcome, inject
from controlplane.inject.policy import PodNamespace
from controlplane.mesh.access.jwks import wanted_keys
from controlplane.mesh.extensions.programs import wanted_modules
from controlplane.mesh.mesh import Mesh
from controlplane.mesh.snapshot import SECTIONS
from controlplane.model.identity import Identity
from controlplane.model.keys import NAMESPACE, Key
from controlplane.model.problems import Problem
from controlplane.model.proxies import Proxy, ProxyType, proxy_from_node
from controlplane.objects.changes import Change, split
from controlplane.objects.networking.proxy_configs import ProxyConfigs
from controlplane.objects.parse import Object
from controlplane.objects.types.scalars import FrozenMap
from controlplane.settings import EnvoyFilters, InjectionSettings
from controlplane.sources.files.once import read_manifests
from controlplane.translate.clusters.health_checks import specifier
from controlplane.xds.resource import Reference
from controlplane.xds.stream import Variant

WORLD = Path(__file__).parent / "world.yaml"
# The proxies: their addresses, pods and labels, and how they come by their connections.
_SIDECARS = (
    ("10.1.0.4", "client-1.default", "client", "REDIRECT"),
    ("10.1.0.1", "server-1.default", "server", "REDIRECT"),
    ("10.1.0.2", "server-2.default", "server", "NONE"),
    ("10.1.0.3", "other-1.default", "other", "REDIRECT"),
    ("10.1.0.6", "far-1.elsewhere", "far", "REDIRECT"),
    ("10.2.0.1", "machine.default", "machine", "REDIRECT"),
    ("10.1.0.7", "tried.default", "tried", "REDIRECT"),
)
_GATEWAY = ("10.1.0.5", "ingress-1.default", "ingress", "REDIRECT")
_GATEWAY_LABELS = {"istio": "ingressgateway", "gateway.networking.k8s.io/gateway-name": "ingress"}
_POD = {
    "metadata": {"name": "new", "namespace": "default", "labels": {"app": "new"}},
    "spec": {"containers": [{"name": "app", "image": "app:1"}]},
}

Part = tuple[str, str]  # who gets it, and what it is
Outcome = Mapping[tuple[Part, str], object]  # by part, and by what is called


def changed_parts(before: Outcome, after: Outcome) -> frozenset[Part]:
    """Return the parts of what comes of a mesh that differ between two times."""
    return frozenset(part for part, name in before.keys() | after.keys() if before.get((part, name)) != after.get((part, name)))


class World:
    """The mesh, with one object at a time that comes to it."""

    def __init__(self) -> None:
        """Begin with the objects of ``world.yaml`` alone."""
        _, changes = read_manifests([str(WORLD)], io.BytesIO())
        self._mesh = Mesh(envoy_filters=EnvoyFilters.ALL)
        for_mesh, _ = split(changes)
        self._mesh.apply(for_mesh)
        self._originals = {change.key: change.object for change in for_mesh}
        self._sessions = [self._mesh.connect(proxy, Variant.SOTW) for proxy in _proxies()]
        self._machine = _machine()
        self._registrations = Registrations(60.0)
        self._registrations.connected(1, self._machine, 0.0)
        assert not self._mesh.refresh().failed
        self._untouched = dict(self._everything())

    def outcome(self, key: Key, obj: Object | None) -> Outcome:
        """Return what comes of everything while the object ``key`` is ``obj``."""
        for_mesh, _ = split([Change(key, obj)])
        self._mesh.apply(for_mesh)
        failed = self._mesh.refresh().failed
        assert not failed, failed
        held = dict(self._held_back())
        assert not held, f"{key} makes proxies wait, so that nothing can be compared: {held}"
        return dict(self._everything())

    def problems(self, key: Key) -> tuple[Problem, ...]:
        """Return what is wrong between the object ``key`` and the others."""
        return self._mesh.problems_about(key)

    def is_untouched_without(self, key: Key) -> bool:
        """Return whether everything is as it was in the beginning, now that the object ``key`` is what ``world.yaml`` has."""
        return self.outcome(key, self._originals.get(key)) == self._untouched

    def _everything(self) -> Iterator[tuple[tuple[Part, str], object]]:
        mesh, machine = self._mesh, self._machine
        for session in self._sessions:
            who = "gateways" if session.proxy.type is ProxyType.ROUTER else "sidecars"
            for section, type_url in SECTIONS.items():
                for sent in session.view.resources(type_url):
                    yield ((who, section), f"{session.proxy.name} {sent.name}"), sent.version
        yield (("control plane", "keys of issuers"), ""), mesh.database.peek(wanted_keys)
        yield (("control plane", "modules"), ""), mesh.database.peek(wanted_modules)
        yield (("control plane", "namespaces with proxies"), ""), mesh.injected_namespaces()
        yield (("machines", "entries"), ""), [entry.document for entry in self._registrations.entries(mesh.object, 0.0).values()]
        yield (("machines", "health checks"), ""), specifier(probe_of(machine, mesh.object)).SerializeToString(deterministic=True)
        yield (("pods", "what is injected"), ""), _injected(mesh.proxy_configs(), FrozenMap(self._namespace_labels()))

    def _held_back(self) -> Iterator[tuple[Reference, object]]:
        """Yield the resources that are not sent, as something that they use is not there, and what they use."""
        for table in filter(None, {state.published_table for state in self._mesh._publisher._states.values()}):
            for reference, resource in table._desired.items():
                if table.table.of_type(reference[0]).get(reference[1]) != resource:
                    yield reference, resource.uses

    def _namespace_labels(self) -> Mapping[str, str]:
        namespace = self._mesh.object(NAMESPACE.key("", "default"))
        return namespace.meta.labels if namespace else {}


@cache
def _injected(configs: ProxyConfigs, namespace_labels: FrozenMap[str]) -> tuple[InjectionOutcome, ...]:
    """Return what becomes of a pod of a namespace with ``namespace_labels``, where there are native sidecars and where there are none."""
    contexts = (
        InjectionContext(settings=InjectionSettings(), configs=configs, has_native_sidecars=is_native) for is_native in (True, False)
    )
    return tuple(inject(_POD, PodNamespace("default", namespace_labels), context) for context in contexts)


def _proxies() -> Iterator[Proxy]:
    for ip, pod, app, interception in (*_SIDECARS, _GATEWAY):
        name, _, namespace = pod.partition(".")
        kind, labels = ("router", _GATEWAY_LABELS) if app == "ingress" else ("sidecar", {"app": app})
        labels = {**labels, **({"version": "v1"} if name == "server-1" else {})}
        node = f"{kind}~{ip}~{pod}~{namespace}.svc.cluster.local"
        metadata = {"LABELS": labels, "INTERCEPTION_MODE": interception, "INSTANCE_IPS": ip}
        yield replace(proxy_from_node(node, metadata, "region-1/zone-1"), identity=Identity("cluster.local", namespace, app))


def _machine() -> Proxy:
    """Return a proxy that registers itself as an instance of the WorkloadGroup that is tried."""
    proxy = proxy_from_node("sidecar~10.2.0.2~new.default~default.svc.cluster.local", {"AUTO_REGISTER_GROUP": "tried"})
    return replace(proxy, identity=Identity("cluster.local", "default", "default"))
