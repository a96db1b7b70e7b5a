"""Whatever is known by whatever names: no route and no listener leads to a cluster that is not there, and no domain is there twice.

Services of every kind, other names of them, entries that share hosts, wildcards, routes to all of these, and Sidecars that show a part.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from envoy.config.route.v3.route_pb2 import RouteConfiguration
from hypothesis import given
from hypothesis import strategies as st

from controlplane.envoy.type_urls import CDS, EDS, LDS, RDS, VHDS
from controlplane.mesh.mesh import Mesh
from controlplane.model.cluster_names import parse_cluster_name
from controlplane.model.keys import Key
from controlplane.model.proxies import proxy_from_node
from controlplane.objects.changes import Change, split
from controlplane.objects.parse import parse
from controlplane.xds.stream import Variant
from controlplane.xds.view import View
from tests.support.proofs import sampled

Document = dict[str, object]
NETWORKING = "networking.istio.io/v1"
WORKLOADS = [(namespace, mode) for namespace in ("a", "b") for mode in ("REDIRECT", "NONE")]
PROXIES = (
    *(
        proxy_from_node(
            f"sidecar~10.0.0.{at}~p.{namespace}~{namespace}.svc.cluster.local", {"LABELS": {"app": "x"}, "INTERCEPTION_MODE": mode}
        )
        for at, (namespace, mode) in enumerate(WORKLOADS)
    ),
    proxy_from_node("router~10.0.1.1~gw.a~a.svc.cluster.local", {"LABELS": {"app": "x"}}),
)
EGRESS = ("*/*", "./*", "a/*", "*/one.wild", "b/*.wild", "~/*", "~/*.wild")
ALWAYS = "always.a.svc.cluster.local"  # its ports are 80 and 90
HOSTS = ("x.a.svc.cluster.local", "y.b.svc.cluster.local", "one.wild", "Two.Wild", "*.wild", "nowhere.example")


def document(version: str, kind: str, namespace: str, name: str, spec: Document, created: int = 0) -> Document:
    metadata = {"name": name, "namespace": namespace, "creationTimestamp": f"2026-01-0{created + 1}T00:00:00Z"}
    return {"apiVersion": version, "kind": kind, "metadata": metadata, "spec": spec}


def service(namespace: str, name: str, ports: Iterable[tuple[int, str]], address: str) -> Document:
    written = [{"name": f"{name}-{port}", "port": port, "protocol": "UDP" if name == "udp" else "TCP"} for port, name in ports]
    return document("v1", "Service", namespace, name, {"clusterIP": address, "ports": written})


def other_name(namespace: str, name: str, of: str, ports: Iterable[tuple[int, str]]) -> Document:
    written = [{"name": f"{protocol}-{port}", "port": port} for port, protocol in ports if protocol != "udp"]
    return document("v1", "Service", namespace, name, {"type": "ExternalName", "externalName": of, "ports": written})


def entry(namespace: str, name: str, host: str, ports: Iterable[tuple[int, str]], found: str, created: int) -> Document:
    written = [{"number": port, "name": f"p{port}", "protocol": "TCP" if name == "udp" else name.upper()} for port, name in ports]
    where: Document = {"resolution": found} | ({} if found == "NONE" else {"endpoints": [{"address": "10.1.1.1"}]})
    return document(NETWORKING, "ServiceEntry", namespace, f"e{name}", {"hosts": [host], "ports": written, **where}, created)


def route(namespace: str, name: str, host: str, to: str, port: int, export_to: str, gateways: list[str]) -> Document:
    destination: Document = {"host": to, **({"port": {"number": port}} if port else {})}
    spec: Document = {"hosts": [host], "exportTo": [export_to], "gateways": gateways, "http": [{"route": [{"destination": destination}]}]}
    return document(NETWORKING, "VirtualService", namespace, name, spec)


def sidecar(namespace: str, hosts: list[str], on_port: list[str]) -> Document:
    own: list[Document] = [{"port": {"number": 80, "name": "p", "protocol": "HTTP"}, "hosts": on_port}] if on_port else []
    return document(NETWORKING, "Sidecar", namespace, "s", {"egress": [*own, {"hosts": hosts}]})


def gateway(port: int) -> Document:
    server = {"port": {"number": port, "name": "p", "protocol": "HTTP"}, "hosts": ["*"]}
    return document(NETWORKING, "Gateway", "a", "g", {"selector": {"app": "x"}, "servers": [server]})


spaces, names = st.sampled_from(("a", "b")), st.sampled_from(("x", "y"))
ports = st.dictionaries(st.sampled_from((80, 81, 90)), st.sampled_from(("http", "tcp", "udp", "odd")), min_size=1).map(dict.items)
entry_ports = st.dictionaries(st.sampled_from((80, 81, 90)), st.sampled_from(("http", "tcp")), min_size=1).map(dict.items)
hosts = st.sampled_from(HOSTS)


def documents(destinations: st.SearchStrategy[str], numbers: st.SearchStrategy[int]) -> st.SearchStrategy[Document]:
    """Return documents whose routes lead to ``destinations`` and their ports ``numbers``, 0 for none."""
    return st.one_of(
        st.builds(service, spaces, names, ports, st.sampled_from(("10.9.0.1", "10.9.0.2", "None"))),
        st.builds(other_name, spaces, names, hosts.filter(lambda host: "*" not in host), st.just(()) | ports),
        st.builds(
            entry,
            spaces,
            names,
            hosts.filter(lambda host: host != "nowhere.example"),
            entry_ports,
            st.sampled_from(("STATIC", "DNS", "NONE")),
            st.integers(0, 3),
        ),
        st.builds(
            route,
            spaces,
            names,
            hosts,
            destinations,
            numbers,
            st.sampled_from(("*", ".", "b")),
            st.sampled_from((["mesh"], ["mesh", "a/g"], ["a/g"])),
        ),
        st.builds(sidecar, spaces, st.lists(st.sampled_from(EGRESS), min_size=1), st.lists(st.sampled_from(EGRESS), max_size=2)),
        st.builds(gateway, st.sampled_from((80, 8080))),
    )


ANYWHERE = documents(hosts, st.sampled_from((0, 80, 81, 8080)))
TO_ALWAYS = documents(st.just(ALWAYS), st.sampled_from((0, 80, 90, 8080)))


def changes(values: Iterable[tuple[Document, bool]]) -> list[Change]:
    made = []
    for value, stays in values:
        parsed = parse(value)
        assert parsed.key is not None
        assert parsed.object is not None, parsed.problems
        made.append(Change(parsed.key, parsed.object if stays else None))
    return made


ALWAYS_THERE = [(service("a", "always", ((80, "http"), (90, "tcp")), "10.9.0.9"), True)]


def declared(values: Iterable[Document]) -> set[str]:
    """Return the hosts that someone declares."""
    found = set()
    for value in values:
        parsed = parse(value)
        assert parsed.key is not None
        if parsed.key.kind == "Service":
            found.add(f"{parsed.key.name}.{parsed.key.namespace}.svc.cluster.local")
        spec = value["spec"]
        if parsed.key.kind == "ServiceEntry" and isinstance(spec, dict):
            found.update(host.lower() for host in spec["hosts"])
    return found


@sampled(150)
@given(st.lists(ANYWHERE, max_size=12))
def test_no_route_and_no_listener_leads_to_a_cluster_of_a_service_that_is_not_there(written: list[Document]) -> None:
    mesh = Mesh()
    mesh.apply(split(changes([*ALWAYS_THERE, *((value, True) for value in written)]))[0])
    sessions = [mesh.connect(proxy, variant) for proxy in PROXIES for variant in Variant]

    published = mesh.refresh()

    assert published.failed == ()
    by_key = {str(parse(value).key): value for value in written}
    known = declared(by_key.values())
    for session in sessions:
        there = {each.name for each in session.view.resources(CDS)}
        used = {name for kind in (LDS, RDS, VHDS) for each in session.view.resources(kind) for url, name in each.uses if url == CDS}
        missing = {name for name in used - there if parse_cluster_name(name).host in known}
        assert not missing, (session.proxy.id, session.variant)
        assert all(each.name in there for each in session.view.resources(EDS))
        _domains_are_distinct(session.view)


def _domains_are_distinct(view: View) -> None:
    for each in view.resources(RDS):
        table = RouteConfiguration.FromString(each.value)
        times = Counter(domain for host in table.virtual_hosts for domain in host.domains)
        assert [domain for domain, count in times.items() if count > 1] == []
    of_tables: Counter[tuple[str, str]] = Counter()
    for each in view.resources(VHDS):
        of_tables.update((each.name.partition("/")[0], domain) for domain in each.exclusive)
    assert [domain for domain, count in of_tables.items() if count > 1] == []


@sampled(60)
@given(st.lists(st.lists(st.tuples(TO_ALWAYS, st.booleans()), min_size=1, max_size=4), min_size=1, max_size=10))
def test_names_mean_what_a_new_mesh_says_whatever_happened_before(history: list[list[tuple[Document, bool]]]) -> None:
    mesh, world = Mesh(), dict[Key, Change]()
    sessions = [mesh.connect(proxy, variant) for proxy in PROXIES for variant in Variant]
    for batch in [ALWAYS_THERE, *history]:
        made = changes(batch)
        world.update((change.key, change) for change in made)
        mesh.apply(split(made)[0])
        assert mesh.refresh().failed == ()

    new = Mesh()
    new.apply(split(world.values())[0])
    for session in sessions:
        fresh = new.connect(session.proxy, session.variant)
        new.refresh()
        for kind in (CDS, EDS, LDS, RDS, VHDS):
            assert {each.name: each.version for each in session.view.resources(kind)} == {
                each.name: each.version for each in fresh.view.resources(kind)
            }, (session.proxy.id, session.variant, kind)
    assert mesh.problems() == new.problems()
