"""What breaks a constraint that Envoy's messages declare is named by the path of its field."""

from __future__ import annotations

import pytest
from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.config.core.v3.address_pb2 import Address
from envoy.config.core.v3.base_pb2 import HeaderValueOption, RuntimeFractionalPercent
from envoy.config.core.v3.health_check_pb2 import HealthCheck
from envoy.config.listener.v3.listener_components_pb2 import Filter, FilterChain
from envoy.config.listener.v3.listener_pb2 import Listener
from envoy.config.route.v3.route_components_pb2 import VirtualHost
from envoy.config.route.v3.route_pb2 import RouteConfiguration
from envoy.extensions.filters.network.tcp_proxy.v3.tcp_proxy_pb2 import TcpProxy
from google.protobuf.message import Message

from controlplane.envoy.constraints import violations
from controlplane.envoy.packing import pack


@pytest.mark.parametrize(
    ("message", "found"),
    [
        (Cluster(name="a", connect_timeout={"seconds": 1}), ()),
        (Cluster(name=""), ("name: expected at least 1 characters",)),
        (Cluster(name="a", connect_timeout={}), ("connect_timeout: expected a duration > 0s",)),
        (Address(), ("address: expected one of its fields",)),
        (Address(socket_address={"address": "::1", "port_value": 65535}), ()),
        (Address(socket_address={"address": "::1", "port_value": 65536}), ("socket_address.port_value: expected a number <= 65535",)),
        (VirtualHost(name="a", domains=["*"]), ()),
        (VirtualHost(name="a"), ("domains: expected at least 1 items",)),
        (HeaderValueOption(), ("header: expected a value",)),
        (HeaderValueOption(header={"key": "a\nb"}), ("header.key: expected text without line ends",)),
        (RuntimeFractionalPercent(), ("default_value: expected a value",)),
    ],
)
def test_what_is_broken_is_named(message: Message, found: tuple[str, ...]) -> None:
    assert violations(message) == found


def test_paths_lead_through_lists() -> None:
    route = RouteConfiguration(name="r", virtual_hosts=[VirtualHost(name="good", domains=["*"]), VirtualHost(name="", domains=["x"])])

    assert violations(route) == ("virtual_hosts[1].name: expected at least 1 characters",)


def test_paths_lead_into_packed_messages() -> None:
    chain = FilterChain(filters=[Filter(name="tcp", typed_config=pack(TcpProxy(stat_prefix="", cluster="c")))])

    found = violations(Listener(name="l", filter_chains=[chain]))

    assert found == ("filter_chains[0].filters[0].typed_config.(TcpProxy).stat_prefix: expected at least 1 characters",)


def test_what_is_packed_is_judged_again_where_it_is_broken_and_known_where_it_is_sound() -> None:
    def listener(name: str, stat_prefix: str) -> Listener:
        chain = FilterChain(filters=[Filter(name="tcp", typed_config=pack(TcpProxy(stat_prefix=stat_prefix, cluster="c")))])
        return Listener(name=name, filter_chains=[chain])

    found = [bool(violations(listener(name, stat_prefix))) for name in "ab" for stat_prefix in ("x", "")]

    assert found == [False, True, False, True]


def test_all_that_is_broken_is_named() -> None:
    checks = [HealthCheck(), HealthCheck(timeout={"seconds": 1})]

    found = violations(Cluster(name="a", health_checks=checks))

    assert "health_checks[0].timeout: expected a value" in found
    assert "health_checks[1].interval: expected a value" in found
    assert "health_checks[1].health_checker: expected one of its fields" in found
