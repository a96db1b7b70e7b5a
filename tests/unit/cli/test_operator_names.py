"""By which names operators call proxies."""

from __future__ import annotations

import pytest

from controlplane.cli.operator.failures import CommandFailed
from controlplane.cli.operator.names import named_proxy, short_name

CLIENT = "sidecar~10.0.0.1~client-7d9-x.default~default.svc.cluster.local"
WEB = "sidecar~10.0.0.2~web.default~default.svc.cluster.local"
OTHER_WEB = "sidecar~10.0.0.3~web.shop~shop.svc.cluster.local"
INGRESS = "router~10.0.0.4~ingress.edge~edge.svc.cluster.local"
ALL = (CLIENT, WEB, OTHER_WEB, INGRESS)


@pytest.mark.parametrize(
    ("name", "found"),
    [
        (CLIENT, CLIENT),
        ("client-7d9-x.default", CLIENT),
        ("client-7d9-x", CLIENT),
        ("client.default", CLIENT),
        ("client", CLIENT),
        ("web.shop", OTHER_WEB),
        ("ingress", INGRESS),
    ],
)
def test_a_proxy_is_called_by_its_pod_by_what_that_begins_with_or_by_its_id(name: str, found: str) -> None:
    assert named_proxy(name, ALL) == found


def test_a_namespace_says_which_of_two_is_meant() -> None:
    assert named_proxy("web", ALL, "shop") == OTHER_WEB
    with pytest.raises(CommandFailed, match=r"'web' can be any of web.default, web.shop: say which"):
        named_proxy("web", ALL)


def test_two_of_one_name_are_told_apart_by_their_ids() -> None:
    twin = WEB.replace("10.0.0.2", "10.0.0.9")

    with pytest.raises(CommandFailed) as failed:
        named_proxy("web.default", (WEB, twin))

    assert str(failed.value) == f"'web.default' can be any of {WEB}, {twin}: say which"


def test_who_is_not_connected_is_answered_with_who_is() -> None:
    with pytest.raises(CommandFailed, match=r"no proxy 'wep.shop' is connected; there is web.shop"):
        named_proxy("wep.shop", ALL)
    with pytest.raises(CommandFailed, match="no proxy 'web' is connected; none is"):
        named_proxy("web", ())


def test_an_id_that_is_no_nodes_is_its_own_name() -> None:
    assert short_name("grpc-client") == "grpc-client"
    assert named_proxy("grpc-client", ("grpc-client",)) == "grpc-client"
