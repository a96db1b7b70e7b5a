"""What becomes of registrations: the objects that the mesh reads, where they come from, and what of them cannot be used."""

from __future__ import annotations

from dataclasses import replace

import pytest

from controlplane.model.keys import SERVICE_ENTRY
from controlplane.objects.changes import Change
from controlplane.objects.networking.service_entry import RegistryServiceEntry
from controlplane.sources.registry import mirror
from controlplane.sources.registry.entries import Convention, converted
from controlplane.sources.registry.metadata import fit_labels, settings_of
from controlplane.sources.registry.mirror import RegistryMirror
from controlplane.sources.registry.registration import Instance, NamedPort, Registration

CONVENTION = Convention("Consul", "consul")
WEB = SERVICE_ENTRY.key("consul", "web")


def instance(number: int = 1, port: int = 8080, **fields: object) -> Instance:
    plain = Instance(id=f"n1/web-{number}", address=f"10.0.0.{number}", ports=(NamedPort("", port),), origin=f"instance web-{number}")
    return replace(plain, **fields)  # type: ignore[arg-type]  # the fields of an Instance


def web(*instances: Instance, name: str = "web", **fields: object) -> Registration:
    plain = Registration(name=name, host=f"{name.lower()}.service.consul", instances=instances, origin=f"service {name}", protocol="http")
    return replace(plain, **fields)  # type: ignore[arg-type]  # the fields of a Registration


def entry_of(registration: Registration) -> RegistryServiceEntry:
    entry = converted(registration, CONVENTION).entry
    assert entry is not None
    return entry


def remarks(registration: Registration) -> list[str]:
    return [problem.message for problem in converted(registration, CONVENTION).problems]


def endpoints(changes: list[Change]) -> dict[str, list[str]]:
    """Return the addresses of each service that ``changes`` bring, by its name; none where it goes."""
    return {
        change.key.name: [endpoint.address for endpoint in change.object.spec.endpoints]
        if isinstance(change.object, RegistryServiceEntry)
        else []
        for change in changes
    }


def test_a_registration_becomes_a_service_entry() -> None:
    labels = (("version", "v2"),)
    found = entry_of(web(instance(1, labels=labels, weight=90, locality="dc1/z1"), instance(2, weight=10)))

    assert found.key == WEB
    assert found.registry == "Consul"
    assert found.spec.hosts == ("web.service.consul",)
    assert [(port.number, port.name, port.protocol) for port in found.spec.ports] == [(8080, "http", "HTTP")]
    assert [(each.address, each.ports["http"], each.weight) for each in found.spec.endpoints] == [
        ("10.0.0.1", 8080, 90),
        ("10.0.0.2", 8080, 10),
    ]
    assert (dict(found.spec.endpoints[0].labels), found.spec.endpoints[0].locality) == ({"version": "v2"}, "dc1/z1")
    assert (found.spec.resolution, found.spec.location) == ("STATIC", "MESH_EXTERNAL")


def test_what_does_not_serve_gets_no_requests_and_still_says_how_the_service_is_reached() -> None:
    found = entry_of(web(instance(1, serving=False, protocol="grpc"), instance(2, weight=0, protocol="grpc")))

    assert found.spec.endpoints == ()
    assert [(port.number, port.protocol) for port in found.spec.ports] == [(8080, "GRPC")]


def test_the_port_of_a_service_is_what_instances_say_else_the_setting_else_what_most_listen_at() -> None:
    both = (instance(1, 8080), instance(2, 8080), instance(3, 9090))

    def port(registration: Registration) -> int:
        return entry_of(registration).spec.ports[0].number

    assert port(web(*both)) == 8080
    assert port(web(*both, port=80)) == 80
    assert port(web(replace(both[0], service_port=81), *both[1:], port=80)) == 81
    assert port(web(instance(1, 9090), instance(2, 8080))) == 8080
    assert remarks(web(*both)) == [
        "its instances do not agree on the port that they listen at, which is the one of the service, 8080, 9090: 8080 is used"
    ]
    assert entry_of(web(*both)).spec.endpoints[2].ports == {"http": 9090}


def test_instances_that_do_not_agree_on_their_protocol_are_of_that_of_the_service() -> None:
    registration = web(instance(1, protocol="grpc"), instance(2, protocol="http2"))

    assert entry_of(registration).spec.ports[0].protocol == "HTTP"
    assert remarks(registration) == ["its instances do not agree on their protocol: http is used"]
    assert remarks(web(instance(1, protocol="gopher"))) == [
        "expected a protocol such as http, http2, grpc, tls or tcp, found 'gopher': tcp is used"
    ]


def test_an_address_that_is_a_name_is_looked_up_whoever_is_healthy() -> None:
    named = instance(2, address="web-2.example.com", serving=False)

    assert entry_of(web(instance(1), named)).spec.resolution == "DNS"


def test_instances_that_say_who_they_are_are_in_the_mesh() -> None:
    found = entry_of(web(instance(1, identity="spiffe://cluster.local/ns/shop/sa/web"), instance(2)))
    by_account = entry_of(web(instance(1, account="web")))

    assert found.spec.location == by_account.spec.location == "MESH_INTERNAL"
    assert found.spec.subject_alt_names == ("spiffe://cluster.local/ns/shop/sa/web",)
    assert [dict(each.labels) for each in found.spec.endpoints] == [{"security.istio.io/tlsMode": "istio"}, {}]
    assert by_account.spec.endpoints[0].service_account == "web"


def test_one_instance_that_cannot_be_used_takes_no_other_with_it() -> None:
    registration = web(
        instance(1),
        instance(2, address="unix:///var/run/docker.sock"),
        instance(3, 0),
        instance(4, identity="web"),
        instance(5, account="../web"),
    )

    assert [each.address for each in entry_of(registration).spec.endpoints] == ["10.0.0.1"]
    assert [message.split(":")[0] for message in remarks(registration)] == [
        "instance web-2 is left out",
        "instance web-3 is left out",
        "instance web-4 is left out",
        "instance web-5 is left out",
        "its instances do not agree on the port that they listen at, which is the one of the service, 0, 8080",
    ]


def test_metadata_becomes_labels_that_are_fit_for_labels() -> None:
    assert fit_labels({"version": "v2", "build id": "a b", "-": "x", "Owner/team": "é" * 100, "long": "x" * 70}) == (
        ("build-id", "a-b"),
        ("long", "x" * 63),
        ("owner/team", ""),
        ("version", "v2"),
    )
    settings = settings_of({"protocol": "HTTP2", "port": "80", "service-account": "web", "a": "meta"}, [("a", "tag"), ("b", "tag")])
    assert (settings.protocol, settings.service_port, settings.account) == ("http2", 80, "web")
    assert settings.labels == (("a", "meta"), ("b", "tag"))
    assert settings_of({"port": "http"}).remarks == ("port: expected a number from 1 to 65535, found 'http'",)


def test_a_change_of_one_service_is_one_change() -> None:
    consul = RegistryMirror("consul http://c", CONVENTION, 60)

    first = list(consul.put(web(instance(1))))
    same = list(consul.put(web(instance(1))))
    second = list(consul.put(web(instance(1), instance(2))))
    gone = list(consul.remove("web"))

    assert [endpoints(changes) for changes in (first, same, second, gone)] == [
        {"web": ["10.0.0.1"]},
        {},
        {"web": ["10.0.0.1", "10.0.0.2"]},
        {"web": []},
    ]
    assert len(consul) == 0


def test_it_is_told_where_an_endpoint_comes_from() -> None:
    consul = RegistryMirror("consul http://c", CONVENTION, 60)
    list(consul.put(web(instance(1), instance(2, serving=False), instance(3))))

    assert str(consul.location(WEB, "spec.endpoints[1].address")) == "consul http://c: service web, instance web-3"
    assert str(consul.location(WEB, "spec.hosts[0]")) == "consul http://c: service web"
    assert consul.location(SERVICE_ENTRY.key("shop", "web"), "") is None


def test_what_a_registry_lacks_that_lost_its_state_stays_for_a_while() -> None:
    consul = RegistryMirror("consul http://c", CONVENTION, 60)
    list(consul.put(web(instance(1), instance(2))))
    list(consul.put(web(instance(7), name="db")))

    assert consul.lost_state(now=100)
    removed = [*consul.remove("web"), *consul.remove("db")]
    back = list(consul.put(web(instance(2, weight=3))))
    early = list(consul.settle(now=159))
    late = list(consul.settle(now=160))

    assert removed == []
    assert endpoints(back) == {"web": ["10.0.0.1", "10.0.0.2"]}
    assert early == []
    assert endpoints(late) == {"web": ["10.0.0.2"], "db": []}


def test_a_service_that_cannot_be_used_has_its_last_good_meaning() -> None:
    consul = RegistryMirror("consul http://c", CONVENTION, 60)
    list(consul.put(web(instance(1))))
    list(consul.put(web(instance(1), name="No_Name")))

    changes = list(consul.put(web(instance(2), host="not a host")))

    assert changes == []
    codes = {
        (located.problem.object.name, located.problem.code)
        for of_one in consul.copy().problems_by_document()
        for located in of_one
        if located.problem.object
    }
    assert codes == {("web", "OutOfRange"), ("web", "LastGood"), ("no_name", "OutOfRange"), ("no_name", "NotInEffect")}


def test_names_that_differ_in_case_are_one_service() -> None:
    consul = RegistryMirror("consul http://c", CONVENTION, 60)
    list(consul.put(web(instance(1))))

    second = list(consul.put(web(instance(2), name="Web")))
    gone = list(consul.remove("Web"))

    assert (endpoints(second), endpoints(gone)) == ({"web": ["10.0.0.2"]}, {"web": ["10.0.0.1"]})


def test_services_of_whole_connections_at_one_port_are_told() -> None:
    consul = RegistryMirror("consul http://c", CONVENTION, 60)
    for name, protocol in {"db": "tcp", "cache": "tcp", "web": "http"}.items():
        list(consul.put(web(instance(1), name=name, protocol=protocol)))

    found = [located.problem for of_one in consul.copy().problems_by_document() for located in of_one]
    assert [(str(problem.object), problem.code) for problem in found] == [("ServiceEntry/consul/db", "Ambiguous")]


def test_there_is_room_for_so_many_services(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mirror, "MAX_SERVICES", 1)
    consul = RegistryMirror("consul http://c", CONVENTION, 60)
    list(consul.put(web(instance(1))))

    assert list(consul.put(web(instance(2), name="db"))) == []
    assert endpoints(list(consul.put(web(instance(3))))) == {"web": ["10.0.0.3"]}
    [of_registry, *_] = consul.copy().problems_by_document()
    assert [located.problem.message for located in of_registry] == ["expected at most 1 services: 1 are passed over, as db"]
