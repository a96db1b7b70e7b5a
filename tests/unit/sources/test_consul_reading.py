"""What answers of Consul mean, and which services have to be asked about by them."""

from __future__ import annotations

import pytest

from controlplane.settings import ConsulSettings
from controlplane.sources.consul.catalogue import Catalogue, ToAsk
from controlplane.sources.consul.reading import (
    Defaults,
    checks_of,
    instances_of,
    proxy_defaults_of,
    service_defaults_of,
    services_of,
)
from controlplane.sources.registry.http import RegistryUnreachable
from controlplane.untyped import Json

SETTINGS = ConsulSettings(url="http://127.0.0.1:8500")


def row(number: int = 1, *statuses: str, **service: object) -> Json:
    known = f"web-{number}"
    checks = [
        {"Node": "n1", "CheckID": f"service:{known}", "ServiceID": known, "ServiceName": "web", "Status": status} for status in statuses
    ]
    node = {"Node": "n1", "Address": "10.0.0.100", "Datacenter": "dc1", "Meta": {"zone": "z1"}}
    plain = {"ID": known, "Service": "web", "Tags": [], "Address": f"10.0.0.{number}", "Port": 80, "Meta": {}}
    return {"Node": node, "Service": {**plain, **service}, "Checks": checks}


def test_an_instance_has_its_own_address_or_that_of_its_node() -> None:
    found = instances_of([row(1), row(2, Address="")], SETTINGS)

    assert [instance.address for instance in found.instances] == ["10.0.0.1", "10.0.0.100"]
    assert found.instances[0].locality == "dc1/z1"
    assert found.instances[0].origin == "instance web-1 at node n1"


@pytest.mark.parametrize(
    ("statuses", "serving", "weight"),
    [((), True, 7), (("passing",), True, 7), (("passing", "warning"), True, 3), (("warning", "critical"), False, 3), (("odd",), False, 7)],
)
def test_the_worst_of_its_checks_counts(statuses: tuple[str, ...], serving: bool, weight: int) -> None:  # noqa: FBT001 - a case
    [instance] = instances_of([row(1, *statuses, Weights={"Passing": 7, "Warning": 3})], SETTINGS).instances

    assert (instance.serving, instance.weight) == (serving, weight)


def test_meta_counts_before_tags_and_plain_tags_are_labels() -> None:
    [instance] = instances_of(
        [row(1, Tags=["version=v1", "team=a", "blue"], Meta={"version": "v2", "protocol": "grpc"})], SETTINGS
    ).instances

    assert dict(instance.labels) == {"version": "v2", "team": "a", "consul-tag/blue": "true"}
    assert instance.protocol == "grpc"


def test_proxies_and_what_nobody_can_read_are_no_instances() -> None:
    assert not instances_of([row(1, Kind="connect-proxy"), row(2, Kind="mesh-gateway")], SETTINGS).instances
    assert instances_of([{"Node": None, "Service": 3, "Checks": "x"}, 7], SETTINGS).instances[0].address == ""
    with pytest.raises(RegistryUnreachable):
        instances_of({"error": "no"}, SETTINGS)


def test_services_are_chosen_by_tags_and_patterns() -> None:
    catalog = {"consul": [], "web-a": ["mesh"], "web-b": [], "db": ["mesh"]}

    assert services_of(catalog, SETTINGS).keys() == {"web-a", "web-b", "db"}
    assert services_of(catalog, ConsulSettings(url="", tags=("mesh",), names=("web-*", "x"))).keys() == {"web-a"}
    with pytest.raises(RegistryUnreachable):
        services_of([], SETTINGS)


def test_protocols_of_configuration_entries() -> None:
    defaults = Defaults(
        service_defaults_of([{"Name": "web", "Protocol": "HTTP"}, {"Name": "db"}]),
        proxy_defaults_of([{"Name": "global", "Config": {"protocol": "grpc"}}]),
    )

    assert [defaults.protocol(name) for name in ("web", "db")] == ["http", "grpc"]
    assert Defaults({}).protocol("web") == "tcp"


def test_services_are_asked_about_whose_checks_differ_and_all_on_a_node_whose_checks_do() -> None:
    catalogue = Catalogue("consul", 0)
    assert catalogue.take_catalog({"web": (), "db": ()}) == ToAsk(now=frozenset(("web", "db")))
    assert not catalogue.complete
    for name in ("web", "db"):
        assert not catalogue.take_service(name, instances_of([row(1, "passing")], SETTINGS), 20)
    assert catalogue.complete

    failing = {"Node": "n1", "CheckID": "service:web-1", "ServiceID": "web-1", "ServiceName": "web", "Status": "critical"}
    assert catalogue.take_checks(checks_of([failing]), 21) == ToAsk(now=frozenset(("web",)))
    assert catalogue.take_checks(checks_of([failing]), 22) == ToAsk()
    of_node = {"Node": "n1", "CheckID": "serfHealth", "ServiceID": "", "ServiceName": "", "Status": "critical"}
    assert catalogue.take_checks(checks_of([failing, of_node]), 23) == ToAsk(now=frozenset(("web", "db")))
    assert catalogue.take_catalog({"web": ("blue",), "db": ()}) == ToAsk(now=frozenset(("web",)), later=frozenset(("db",)))


def test_an_answer_that_is_behind_what_checks_say_is_asked_for_again_a_few_times() -> None:
    catalogue = Catalogue("consul", 0)
    catalogue.take_catalog({"web": ()})
    catalogue.take_checks(checks_of(row(1, "critical")["Checks"]), 30)
    old, new = instances_of([row(1, "passing")], SETTINGS), instances_of([row(1, "critical")], SETTINGS)

    assert [catalogue.take_service("web", old, 29) for _ in range(4)] == [True, True, True, False]
    assert not catalogue.take_service("web", new, 30)
    assert not catalogue.take_service("web", old, 31)  # newer than what checks say
    assert catalogue.is_regressed("web", 30)


def test_a_service_without_instances_stays_until_the_catalog_lacks_it() -> None:
    catalogue = Catalogue("consul", 0)
    catalogue.take_catalog({"web": ()})
    catalogue.take_service("web", instances_of([row(1, "passing")], SETTINGS), 20)
    catalogue.take_service("web", instances_of([], SETTINGS), 21)

    registration = catalogue.registration("web")
    assert registration is not None
    assert [instance.serving for instance in registration.instances] == [False]
    catalogue.take_catalog({})
    assert catalogue.registration("web") is None
