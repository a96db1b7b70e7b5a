"""Who is registered as an instance of a WorkloadGroup, and as what."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from controlplane.fleet.registrations import Registrations, probe_of, refusal_reason
from controlplane.model.identity import Identity
from controlplane.model.keys import WORKLOAD_ENTRY, Key
from controlplane.model.proxies import Proxy, ProxyType
from controlplane.objects.networking.service_entry import WorkloadEntry
from controlplane.objects.parse import Object, parse

VM = Proxy(
    id="sidecar~10.0.0.7~vm-1.shop~shop.svc.cluster.local",
    type=ProxyType.SIDECAR,
    ips=("10.0.0.7",),
    name="vm-1",
    namespace="shop",
    dns_domain="shop.svc.cluster.local",
    labels=(("app", "admin"),),
    locality="west/1",
    identity=Identity("cluster.local", "shop", "cart"),
    group="carts",
)
SPEC = {
    "metadata": {"labels": {"team": "a"}, "annotations": {"note": "vm"}},
    "template": {"serviceAccount": "cart", "labels": {"app": "cart"}, "ports": {"http": 8080}, "network": "vm-net"},
}
GROUP = {
    "apiVersion": "networking.istio.io/v1",
    "kind": "WorkloadGroup",
    "metadata": {"name": "carts", "namespace": "shop"},
    "spec": SPEC,
}
PROBE = {"httpGet": {"port": 8080, "path": "/healthz"}}
ENTRY = WORKLOAD_ENTRY.key("shop", "carts-10.0.0.7-vm-net")


def objects(*documents: Mapping[str, object]) -> dict[Key, Object]:
    """Return the objects that ``documents`` say."""
    found = [parse(each).object for each in documents]
    return {each.key: each for each in found if each}


def probed() -> dict[Key, Object]:
    """Return the group with a probe."""
    return objects({**GROUP, "spec": {**SPEC, "probe": PROBE}})


def registered(*proxies: Proxy) -> Registrations:
    """Return the registrations with a stream of each of ``proxies``, at the times 1, 2, ..."""
    found = Registrations(grace_s=10)
    for number, each in enumerate(proxies, 1):
        found.connected(number, each, float(number))
    return found


def test_an_entry_says_what_the_group_says_and_the_address_of_its_proxy() -> None:
    [entry] = registered(VM).entries(objects(GROUP).get, 2.0).values()

    assert entry.document == {
        "apiVersion": "networking.istio.io/v1",
        "kind": "WorkloadEntry",
        "metadata": {
            "name": "carts-10.0.0.7-vm-net",
            "namespace": "shop",
            "labels": {"team": "a", "app": "cart"},
            "annotations": {"note": "vm", "istio.io/autoRegistrationGroup": "carts"},
        },
        "spec": {
            "address": "10.0.0.7",
            "labels": {"app": "cart", "security.istio.io/tlsMode": "istio", "team": "a"},
            "ports": {"http": 8080},
            "network": "vm-net",
            "locality": "west/1",
            "serviceAccount": "cart",
        },
    }
    read = parse(entry.document)
    assert read.object is not None
    assert [problem.field for problem in read.problems] == ["spec.network"]


def test_it_stays_while_there_is_a_stream_and_ten_seconds_longer() -> None:
    found, known = registered(VM, VM), objects(GROUP).get

    found.disconnected(1, 100.0)
    assert ENTRY in found.entries(known, 200.0)
    found.disconnected(2, 200.0)

    assert ENTRY in found.entries(known, 209.9)
    assert found.entries(known, 210.0) == {}


def test_who_comes_back_in_time_was_never_away() -> None:
    found, known = registered(VM), probed().get
    found.health_checked(VM, 1.5, healthy=True)

    found.disconnected(1, 100.0)
    found.connected(2, VM, 109.0)

    [entry] = found.entries(known, 110.0).values()
    assert entry.healthy


def test_the_identity_has_to_be_that_of_the_group() -> None:
    known = objects(GROUP).get
    for who in (None, Identity("cluster.local", "shop", "other"), Identity("cluster.local", "elsewhere", "cart")):
        other = replace(VM, identity=who)

        assert registered(other).entries(known, 2.0) == {}
        assert "is for the service account cart" in refusal_reason(other, known)
        assert probe_of(other, probed().get) is None


def test_a_group_that_comes_later_takes_in_who_is_there() -> None:
    found = registered(VM)
    assert found.entries(objects().get, 2.0) == {}
    assert found.refused(objects().get) == {VM.id: "there is no WorkloadGroup/shop/carts"}
    assert found.statuses(objects().get) == {VM.id: "not registered: there is no WorkloadGroup/shop/carts"}
    assert found.statuses(objects(GROUP).get) == {VM.id: str(ENTRY)}

    assert ENTRY in found.entries(objects(GROUP).get, 3.0)


def test_with_a_probe_an_instance_is_healthy_only_once_it_has_said_so() -> None:
    found, known = registered(VM), probed().get

    [entry] = found.entries(known, 2.0).values()
    read = parse(entry.document).object
    assert isinstance(read, WorkloadEntry)
    assert not read.healthy
    assert found.health_checked(VM, 1.5, healthy=True)
    assert not found.health_checked(VM, 1.5, healthy=True)
    assert [each.healthy for each in found.entries(known, 2.0).values()] == [True]
    assert found.health_checked(VM, 1.5, healthy=False)
    assert [each.healthy for each in found.entries(known, 2.0).values()] == [False]


def test_health_that_nobody_has_told_here_yet_is_what_another_replica_found_for_a_while() -> None:
    found, known = registered(VM), probed().get

    assert [each.healthy for each in found.entries(known, 10.9).values()] == [None]
    assert [each.healthy for each in found.entries(known, 11.0).values()] == [False]


def test_whose_checks_have_fallen_silent_is_not_taken_for_well() -> None:
    found, known = registered(VM), probed().get
    found.health_checked(VM, 5.0, healthy=True)

    health = {now: [each.healthy for each in found.entries(known, now).values()] for now in (5.0, 10.0, 14.9, 15.0)}

    assert health == {5.0: [True], 10.0: [True], 14.9: [True], 15.0: [False]}


def test_silence_while_we_were_stopped_is_held_against_nobody() -> None:
    found, known = registered(VM), probed().get
    found.health_checked(VM, 5.0, healthy=True)
    found.entries(known, 5.0)

    assert [each.healthy for each in found.entries(known, 60.0).values()] == [True]
    assert [each.healthy for each in found.entries(known, 65.0).values()] == [True]
    assert [each.healthy for each in found.entries(known, 70.0).values()] == [False]


def test_of_two_at_one_address_the_last_to_come_counts() -> None:
    second = replace(VM, id=VM.id.replace("vm-1", "vm-2"), name="vm-2", locality="east/2")

    [entry] = registered(second, VM).entries(objects(GROUP).get, 9.0).values()

    assert entry.spec["locality"] == "west/1"


def test_names_are_such_that_kubernetes_takes() -> None:
    six = replace(VM, ips=("fd00::7",))

    assert list(registered(six).entries(objects(GROUP).get, 2.0)) == [WORKLOAD_ENTRY.key("shop", "carts-fd00-7-vm-net")]
