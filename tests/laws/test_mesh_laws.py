"""Whatever happened before, a mesh publishes what a new one would: every resource byte for byte, in both protocols.

What a table keeps on purpose (what was good last) is memory, not law: the objects here never name what does not exist.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlplane.envoy.type_urls import CDS, ECDS, EDS, LDS, RATE_LIMIT_CONFIG, RDS, VHDS
from controlplane.mesh import shards
from controlplane.mesh.mesh import Mesh
from controlplane.mesh.sessions import Session
from controlplane.model.keys import Key
from controlplane.model.proxies import proxy_from_node
from controlplane.objects.changes import Change, split
from controlplane.objects.parse import parse
from controlplane.settings import EnvoyFilters
from controlplane.xds.stream import Variant
from controlplane.xds.view import View
from tests.support.law_patches import PATCHES
from tests.support.proofs import sampled

NAMESPACES = ("a", "b")
NAMES = ("x", "y")
PROXIES = tuple(
    proxy_from_node(f"sidecar~10.0.0.{at}~p.{namespace}~{namespace}.svc.cluster.local", {"LABELS": {"app": "x"}, "INTERCEPTION_MODE": mode})
    for at, (namespace, mode) in enumerate((each, mode) for each in NAMESPACES for mode in ("REDIRECT", "NONE"))
) + tuple(
    proxy_from_node(f"router~10.0.1.1~gw.{namespace}~{namespace}.svc.cluster.local", {"LABELS": {"app": "x"}}) for namespace in NAMESPACES
)
PROXIES += (proxy_from_node("ratelimit~10.0.2.1~limits.a~a.svc.cluster.local", {}),)
Content = Mapping[tuple[str, str], str]


def document(version: str, kind: str, namespace: str, name: str, **body: object) -> dict[str, object]:
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name, "namespace": namespace, **_labels(kind, name)}, **body}


def _labels(kind: str, name: str) -> dict[str, object]:
    return {"labels": {"kubernetes.io/service-name": name}} if kind == "EndpointSlice" else {}


def service(namespace: str, name: str, protocol: str, addresses: int) -> dict[str, object]:
    spec = {"clusterIP": f"10.9.0.{addresses}", "selector": {"app": name}, "ports": [{"name": protocol, "port": 80}]}
    return document("v1", "Service", namespace, name, spec=spec)


def slice_of(namespace: str, name: str, last: int) -> dict[str, object]:
    endpoint = {"addresses": [f"10.8.0.{last}"], "nodeName": f"n{last}", "targetRef": {"kind": "Pod", "name": f"{name}-{last}"}}
    body = {"addressType": "IPv4", "ports": [{"name": "http", "port": 8080}], "endpoints": [endpoint]}
    return document("discovery.k8s.io/v1", "EndpointSlice", namespace, name, **body)


def pod(namespace: str, name: str, last: int, node: int) -> dict[str, object]:
    return document("v1", "Pod", namespace, f"{name}-{last}", spec={"nodeName": f"n{node}"}, status={"podIP": f"10.8.0.{last}"})


def node(last: int, zone: int) -> dict[str, object]:
    metadata = {"name": f"n{last}", "labels": {"topology.kubernetes.io/region": "r", "topology.kubernetes.io/zone": f"z{zone}"}}
    return {"apiVersion": "v1", "kind": "Node", "metadata": metadata}


def route(namespace: str, name: str, timeout: int, export_to: str) -> dict[str, object]:
    spec = {"hosts": [f"{name}.example"], "exportTo": [export_to], "http": [{"timeout": f"{timeout}s", "directResponse": {"status": 200}}]}
    return document("networking.istio.io/v1", "VirtualService", namespace, name, spec=spec)


def gateway(namespace: str, name: str, port: int, protocol: str, host: str) -> dict[str, object]:
    tls = {"tls": {"mode": "PASSTHROUGH" if protocol == "TLS" else "SIMPLE", "serverCertificate": "/c", "privateKey": "/k"}}
    server = {"port": {"number": port, "name": "p", "protocol": protocol}, "hosts": [host], **(tls if protocol in ("HTTPS", "TLS") else {})}
    return document("networking.istio.io/v1", "Gateway", namespace, name, spec={"selector": {"app": "x"}, "servers": [server]})


def bound(namespace: str, name: str, gateways: list[str], path: str, port: int) -> dict[str, object]:
    there = [{"destination": {"host": "always.a.svc.cluster.local", "port": {"number": 80}}}]
    http = {"match": [{"uri": {"prefix": path}}], "route": there}
    tls = {"match": [{"sniHosts": [f"{name}.example"], "port": port}], "route": there}
    spec = {"hosts": [f"{name}.example"], "gateways": gateways, "http": [http], "tls": [tls]}
    return document("networking.istio.io/v1", "VirtualService", namespace, f"{name}-bound", spec=spec)


def rule(namespace: str, name: str, host: str, connections: int) -> dict[str, object]:
    spec = {"host": f"{host}.svc.cluster.local", "trafficPolicy": {"connectionPool": {"tcp": {"maxConnections": connections}}}}
    return document("networking.istio.io/v1", "DestinationRule", namespace, name, spec=spec)


def sidecar(namespace: str, name: str, host: str) -> dict[str, object]:
    spec = {"egress": [{"hosts": [host]}]}
    return document("networking.istio.io/v1", "Sidecar", namespace, name, spec=spec)


def authorization(namespace: str, name: str, action: str, app: str, path: str) -> dict[str, object]:
    rule = {"from": [{"source": {"principals": ["a.example/ns/a/sa/x"]}}], "to": [{"operation": {"paths": [path]}}]}
    provider = {"provider": {"name": "asked"}} if action == "CUSTOM" else {}
    attached = {"selector": {"matchLabels": {"app": app}}} if app else {}
    return document(
        "security.istio.io/v1", "AuthorizationPolicy", namespace, name, spec={"action": action, "rules": [rule], **provider, **attached}
    )


def authentication(namespace: str, name: str, issuer: str, app: str) -> dict[str, object]:
    spec = {"jwtRules": [{"issuer": f"https://{issuer}.example"}], **({"selector": {"matchLabels": {"app": app}}} if app else {})}
    return document("security.istio.io/v1", "RequestAuthentication", namespace, name, spec=spec)


def rate_limit(namespace: str, name: str, app: str, counted: str, *, closed: bool) -> dict[str, object]:
    host = {"service": {"host": f"{counted}.a.svc.cluster.local", "port": 80}}
    attached = {"selector": {"matchLabels": {"app": app}}} if app else {"targetRefs": [{"kind": "Service", "name": name}]}
    rule = {"match": {"source": {"namespaces": ["a"]}}, "limit": {"requests": 5, "per": "1m"}}
    spec = {"rules": [rule], "failure": "Closed" if closed else "Open", **attached, **({"global": host} if counted else {})}
    return document("navarch.dev/v1alpha1", "RateLimit", namespace, name, spec=spec)


def envoy_filter(namespace: str, name: str, app: str, priority: int, patches: list[int]) -> dict[str, object]:
    labels = {"workloadSelector": {"labels": {"app": app}}} if app else {}
    config: list[dict[str, object]] = [
        {"applyTo": to, "match": match, "patch": {"operation": operation, "value": value}}
        for to, match, operation, value in (PATCHES[number] for number in patches)
    ]
    spec = {**labels, "priority": priority, "configPatches": config}
    return document("networking.istio.io/v1alpha3", "EnvoyFilter", namespace, name, spec=spec)


def settings_of(mode: str, aliases: list[str], port: int) -> dict[str, object]:
    asked = f"{{name: asked, envoyExtAuthzGrpc: {{service: x.a.svc.cluster.local, port: {port}}}}}"
    mesh = f"outboundTrafficPolicy: {{mode: {mode}}}\ntrustDomainAliases: {aliases}\nextensionProviders: [{asked}]"
    return document("v1", "ConfigMap", "istio-system", "istio", data={"mesh": mesh})


def entry(namespace: str, host: str, address: int, protocol: str) -> dict[str, object]:
    """Return a ServiceEntry that may declare another object's host, or address, or both."""
    spec = {"hosts": [host], "addresses": [f"10.1.0.{address}"], "ports": [{"number": 80, "name": "p", "protocol": protocol}]}
    return document(
        "networking.istio.io/v1",
        "ServiceEntry",
        namespace,
        host.replace("*", "any"),
        spec={**spec, "resolution": "NONE" if "*" in host else "DNS"},
    )


def other_name(namespace: str, name: str, host: str) -> dict[str, object]:
    spec = {"type": "ExternalName", "externalName": host, "ports": [{"port": 80, "name": "http"}]}
    return document("v1", "Service", namespace, name, spec=spec)


hosts = st.sampled_from(("x.example", "y.example", "x.a.svc.cluster.local", "y.b", "*.example"))
spaces, names, numbers = st.sampled_from(NAMESPACES), st.sampled_from(NAMES), st.integers(1, 3)
protocols = st.sampled_from(("HTTP", "HTTPS", "TLS", "TCP"))
documents = st.one_of(
    st.builds(service, spaces, names, st.sampled_from(("http", "tcp", "odd")), numbers),
    st.builds(other_name, spaces, names, hosts.filter(lambda host: "*" not in host)),
    st.builds(entry, spaces, hosts, numbers, st.sampled_from(("HTTP", "TCP", "TLS"))),
    st.builds(slice_of, spaces, names, numbers),
    st.builds(pod, spaces, names, numbers, numbers),
    st.builds(node, numbers, numbers),
    st.builds(route, spaces, names, numbers, st.sampled_from(("*", ".", "b"))),
    st.builds(gateway, spaces, names, st.sampled_from((80, 81)), protocols, st.sampled_from(("*", "./x.example", "*.example"))),
    st.builds(
        bound,
        spaces,
        names,
        st.sampled_from((["x"], ["a/x", "b/y"], ["mesh", "y"])),
        st.sampled_from(("/", "/p")),
        st.sampled_from((80, 81)),
    ),
    st.builds(rule, spaces, names, st.sampled_from(("x.a", "y.b")), numbers),
    st.builds(sidecar, spaces, names, st.sampled_from(("*/*", "./*", "a/*"))),
    st.builds(
        settings_of, st.sampled_from(("ALLOW_ANY", "REGISTRY_ONLY")), st.sampled_from(([], ["a.example"])), st.sampled_from((80, 81))
    ),
    st.builds(
        authorization,
        st.sampled_from((*NAMESPACES, "istio-system")),
        names,
        st.sampled_from(("ALLOW", "DENY", "CUSTOM")),
        st.sampled_from(("", "x", "y")),
        st.sampled_from(("/", "/p")),
    ),
    st.builds(
        rate_limit,
        st.sampled_from((*NAMESPACES, "istio-system")),
        names,
        st.sampled_from(("", "x", "y")),
        st.sampled_from(("", "x", "y")),
        closed=st.booleans(),
    ),
    st.builds(
        envoy_filter,
        st.sampled_from((*NAMESPACES, "istio-system")),
        names,
        st.sampled_from(("", "x")),
        st.sampled_from((0, 5)),
        st.lists(st.integers(0, len(PATCHES) - 1), min_size=1, max_size=3),
    ),
    st.builds(authentication, st.sampled_from((*NAMESPACES, "istio-system")), names, names, st.sampled_from(("", "x", "y"))),
)
steps = st.lists(st.lists(st.tuples(documents, st.booleans()), min_size=1, max_size=3), min_size=1, max_size=12)


def applied(mesh: Mesh, batch: list[tuple[dict[str, object], bool]], world: dict[Key, Change]) -> None:
    changes = []
    for value, stays in batch:
        parsed = parse(value)
        assert parsed.key is not None
        assert parsed.object is not None, parsed.problems
        change = Change(parsed.key, parsed.object if stays else None)
        changes.append(change)
        world[parsed.key] = change
    mesh.apply(split(changes)[0])


def content(view: View) -> Content:
    kinds = (CDS, ECDS, EDS, LDS, RDS, VHDS, RATE_LIMIT_CONFIG)
    return {(each.type_url, each.name): each.version for kind in kinds for each in view.resources(kind)}


@sampled(40)
@given(steps)
def test_after_any_changes_every_proxy_sees_what_a_new_mesh_would_show(history: list[list[tuple[dict[str, object], bool]]]) -> None:
    mesh, world = Mesh(envoy_filters=EnvoyFilters.ALL), dict[Key, Change]()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shards, "MOST", 1)  # as many shards as objects, in the new mesh one a namespace: what is seen is the same
        patch.setattr(shards, "FEWEST", 0.4)
        applied(mesh, [(service("a", "always", "http", 9), True)], world)
        sessions = [mesh.connect(each, variant) for each in PROXIES for variant in Variant]
        for batch in history:
            applied(mesh, batch, world)
            published = mesh.refresh()
            assert published.failed == ()

    assert_as_new(world, sessions)


@sampled(40)
@given(steps, st.lists(st.integers(0, 30), min_size=1))
def test_so_it_does_where_endpoints_go_ahead_of_refreshes_that_are_interrupted(
    history: list[list[tuple[dict[str, object], bool]]], runs: list[int]
) -> None:
    mesh, world = Mesh(envoy_filters=EnvoyFilters.ALL), dict[Key, Change]()
    applied(mesh, [(service("a", "always", "http", 9), True)], world)
    sessions = [mesh.connect(each, variant) for each in PROXIES for variant in Variant]
    pauses = itertools.cycle(runs)

    for batch in history:
        applied(mesh, batch, world)
        left = iter(range(next(pauses)))
        if not mesh.refresh(lambda: next(left, None) is None).done:  # noqa: B023 - it is asked here and nowhere else
            assert mesh.refresh_endpoints().done
            for session in sessions:
                assert not dangling(session.view)
    mesh.refresh()

    assert_as_new(world, sessions)


def dangling(view: View) -> set[tuple[str, str]]:
    """Return what resources of ``view`` use and is not there."""
    used = {reference for kind in (CDS, LDS, RDS, VHDS) for each in view.resources(kind) for reference in each.uses}
    return {(kind, name) for kind, name in used if kind in (CDS, EDS) and view.get(kind, name) is None}


def assert_as_new(world: dict[Key, Change], sessions: list[Session]) -> None:
    new = Mesh(envoy_filters=EnvoyFilters.ALL)
    new.apply(split(reversed(world.values()))[0])
    for session in sessions:
        fresh = new.connect(session.proxy, session.variant)
        new.refresh()
        assert content(session.view) == content(fresh.view), (session.proxy.id, session.variant)
