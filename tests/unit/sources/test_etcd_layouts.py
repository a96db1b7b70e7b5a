"""What keys of etcd register, layout by layout."""

from __future__ import annotations

import json

import pytest

from controlplane.settings import EtcdSettings
from controlplane.sources.etcd import services
from controlplane.sources.etcd.layouts import MAX_VALUE, registered, service_of
from controlplane.sources.etcd.services import EtcdServices
from controlplane.sources.registry.registration import NamedPort

SETTINGS = EtcdSettings(urls=("http://e",), prefix="/services")


def value(**fields: object) -> bytes:
    return json.dumps(fields).encode()


def test_the_service_is_what_stands_before_the_last_part() -> None:
    assert service_of("/services/web/10.0.0.1:80", "/services") == "web"
    assert service_of("/services/shop/cart/10.0.0.1:80", "/services") == "shop.cart"
    assert service_of("/services/web", "/services") is None


def test_grpc_naming() -> None:
    metadata = {"version": "v1", "weight": 5, "zone": "z1", "region": "r1", "canary": True, "nested": {"a": 1}}
    [instance] = registered("/s/web/a", value(Op=0, Addr="10.0.0.1:80", Metadata=metadata)).instances

    assert (instance.address, instance.ports) == ("10.0.0.1", (NamedPort("", 80),))
    assert (instance.weight, instance.locality, instance.protocol) == (5, "r1/z1", "grpc")
    assert dict(instance.labels) == {"version": "v1", "zone": "z1", "region": "r1", "canary": "true"}
    assert registered("/s/web/a", value(Op=0, Addr="[fd00::1]:80")).instances[0].address == "fd00::1"
    assert registered("/s/web/a", value(Op=1, Addr="10.0.0.1:80")) == ((), ())


def test_go_micro() -> None:
    nodes = [{"id": "a", "address": "10.0.0.1:80", "metadata": {"protocol": "http"}}, {"id": "b", "address": "10.0.0.2:80"}]
    first, second = registered("/s/web/a", value(name="web", version="v2", nodes=nodes)).instances

    assert (first.protocol, dict(first.labels)) == ("http", {"version": "v2"})
    assert (second.protocol, second.id) == ("", "/s/web/a#b")


def test_kratos() -> None:
    urls = ["http://10.0.0.1:8000?isSecure=false", "grpc://10.0.0.1:9000?isSecure=true", "http://10.0.0.2:8000", "grpc://[", 7]
    found = registered("/s/web/a", value(id="a", name="web", version="v1", metadata={"a": "b"}, endpoints=urls))

    [instance] = found.instances
    assert instance.ports == (NamedPort("http", 8000), NamedPort("tls", 9000))
    assert dict(instance.labels) == {"version": "v1", "a": "b"}
    assert found.remarks == (
        "key /s/web/a: the endpoint http://10.0.0.2:8000 is left out: expected one for each protocol, all at one host",
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"", "expected JSON"),
        (b"[1", "expected JSON"),
        (b"[" * 60_000, "expected JSON"),
        (b"\xff\xfe", "expected JSON"),
        (b"7", "expected a JSON object"),
        (b"{}", "expected Addr (gRPC's naming), nodes (go-micro) or endpoints (kratos)"),
        (b" " * (MAX_VALUE + 1), f"expected a value of at most {MAX_VALUE} bytes"),
        (b'{"endpoints": ["x"]}', "expected endpoints such as grpc://10.0.0.1:9000"),
    ],
)
def test_what_cannot_be_read_is_told(text: bytes, expected: str) -> None:
    assert registered("/s/web/a", text) == ((), (f"key /s/web/a is left out: {expected}",))


def test_keys_of_one_service_are_one_registration(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(services, "MAX_KEYS", 3)
    known = EtcdServices(SETTINGS)
    for number in (2, 1):
        known.put(f"/services/web/{number}", value(Addr=f"10.0.0.{number}:80"))

    assert known.put("/services/Web/1", value(Addr="10.0.0.9:80")) == "Web"
    assert known.put("/services/web/4", value(Addr="10.0.0.4:80")) is None
    assert known.passed_over
    registration = known.registration("web")
    assert registration is not None
    assert [instance.address for instance in registration.instances] == ["10.0.0.1", "10.0.0.2"]
    assert registration.host == "web.etcd"
    assert known.delete("/services/Web/1") == "Web"
    assert known.registration("Web") is None
    assert known.delete("/services/nobody/1") is None
