"""Which listener and which filter chain a connection gets, rule by rule of Envoy's."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import pytest
from envoy.config.listener.v3.listener_components_pb2 import FilterChain
from envoy.extensions.transport_sockets.tls.v3.tls_pb2 import DownstreamTlsContext

from controlplane.envoy.packing import pack
from controlplane.simulation.resources import Resources
from controlplane.simulation.result import Answered, AwaitsBytes, AwaitsRequests, Closed, Forwarded, Landing, Stage
from controlplane.simulation.simulate import simulate
from controlplane.simulation.traffic import Address, ClientConnection, FirstBytes, HttpVersion, PlainHttp, RawBytes, Silence, TlsHello
from tests.support.simulation.messages import block, cluster, connection, http, listener, tcp, virtual_outbound

RAW, TLS = RawBytes(), TlsHello


def chosen(traffic: ClientConnection, *listeners: object) -> tuple[str, str]:
    [outcome] = simulate(traffic, Resources(listeners=listeners)).outcomes  # type: ignore[arg-type]  # all of them are listeners
    return outcome.chosen(Stage.LISTENER), outcome.chosen(Stage.FILTER_CHAIN)


def chain_for(traffic: ClientConnection, *chains: FilterChain, inspectors: str = "tls http", default: bool = False) -> str:
    own = listener("0.0.0.0", 80, *chains, inspectors=inspectors)
    if default:
        own.default_filter_chain.CopyFrom(tcp("default"))
    return chosen(traffic, virtual_outbound(), own)[1]


@pytest.mark.parametrize(
    ("destination", "name"),
    [
        ("10.96.0.1:80", "10.96.0.1_80"),
        ("10.96.0.2:80", "0.0.0.0_80"),
        ("10.96.0.1:81", "virtualOutbound"),
        ("fd00::1:80", "::_80"),
    ],
)
def test_a_captured_connection_is_handed_to_the_listener_of_its_address_then_of_its_port(destination: str, name: str) -> None:
    listeners = [listener(ip, 80, tcp("a")) for ip in ("0.0.0.0", "::", "10.96.0.1")]

    assert chosen(connection(destination, RAW), virtual_outbound(), *listeners)[0] == name


def test_a_listener_for_both_families_takes_what_the_wildcard_of_a_family_does_not() -> None:
    both = listener("::", 80, tcp("a"))
    both.address.socket_address.ipv4_compat = True

    assert chosen(connection("10.96.0.1:80", RAW), virtual_outbound(), both) == ("::_80", "a")


def test_a_listener_has_its_additional_addresses_too() -> None:
    additional = {"address": {"socket_address": {"address": "10.96.0.9", "port_value": 80}}}

    assert chosen(
        connection("10.96.0.9:80", RAW), virtual_outbound(), listener("10.96.0.1", 80, tcp("a"), additional_addresses=[additional])
    )


def test_nothing_is_handed_on_by_a_listener_that_keeps_what_it_gets() -> None:
    keeps = virtual_outbound()
    keeps.use_original_dst.value = False

    assert chosen(connection("10.96.0.1:80", RAW), keeps, listener("0.0.0.0", 80, tcp("a"))) == ("virtualOutbound", "default")


def test_a_connection_that_is_not_captured_reaches_listeners_that_bind_alone() -> None:
    bound = listener("127.0.0.1", 80, tcp("a"), bind_to_port=True)
    direct = ClientConnection(source=Address("127.0.0.1", 1), destination=Address("127.0.0.1", 80), first_bytes=RAW)

    assert chosen(direct, bound) == ("127.0.0.1_80", "a")
    assert chosen(replace(direct, destination=Address("127.0.0.1", 81)), bound, listener("127.0.0.1", 81, tcp("b"))) == ("", "")


@pytest.mark.parametrize(
    ("first_bytes", "inspectors", "chain"),
    [
        (TLS("a.example"), "tls", "by name"),
        (TLS("a.example"), "http", "raw"),
        (TLS("A.Example"), "tls http", "by name"),
        (TLS("", ("istio",)), "tls", "by protocol"),
        (PlainHttp(), "http", "http"),
        (PlainHttp(HttpVersion.HTTP2), "tls http", "http"),
        (PlainHttp(HttpVersion.HTTP10), "http", "raw"),
        (PlainHttp(), "tls", "raw"),
        (RAW, "tls http", "raw"),
    ],
)
def test_chains_see_what_the_inspectors_see(first_bytes: FirstBytes, inspectors: str, chain: str) -> None:
    chains = [
        tcp("by name", server_names=["a.example"]),
        tcp("by protocol", application_protocols=["istio"]),
        tcp("http", transport_protocol="raw_buffer", application_protocols=["http/1.1", "h2c"]),
        tcp("raw", transport_protocol="raw_buffer"),
    ]

    assert chain_for(connection("10.96.0.1:80", first_bytes), *chains, inspectors=inspectors) == chain


def test_an_inspector_that_is_disabled_for_a_port_sees_nothing() -> None:
    own = listener("0.0.0.0", 80, tcp("tls", transport_protocol="tls"), tcp("raw", transport_protocol="raw_buffer"), inspectors="tls")
    own.listener_filters[0].filter_disabled.destination_port_range.start = 80
    own.listener_filters[0].filter_disabled.destination_port_range.end = 81

    assert chosen(connection("10.96.0.1:80", TLS("a")), virtual_outbound(), own)[1] == "raw"


@pytest.mark.parametrize(
    ("fields", "landing"),
    [
        ({"listener_filters_timeout": "0s", "continue_on_listener_filters_timeout": True}, AwaitsBytes()),
        ({"listener_filters_timeout": "1s"}, Closed()),
        ({"listener_filters_timeout": "1s", "continue_on_listener_filters_timeout": True}, Closed("a")),
        ({}, Closed()),
    ],
)
def test_who_is_silent_waits_is_closed_or_goes_on_without_inspection(fields: dict[str, object], landing: Landing) -> None:
    own = listener("0.0.0.0", 80, tcp("a"), inspectors="http", **fields)

    found = simulate(connection("10.96.0.1:80", Silence()), Resources(listeners=(virtual_outbound(), own)))

    assert found.landings == {landing}


def test_a_chain_for_the_port_shuts_out_those_for_any_even_where_it_does_not_fit() -> None:
    chains = [tcp("port", destination_port=80, server_names=["a.example"]), tcp("any")]

    assert chain_for(connection("10.96.0.1:80", RAW), *chains, default=True) == "default"
    assert chain_for(connection("10.96.0.1:80", RAW), *chains) == ""


@pytest.mark.parametrize(("ip", "chain"), [("10.96.0.1", "32"), ("10.96.0.2", "24"), ("10.96.7.1", "8"), ("192.0.2.1", "any")])
def test_the_longest_block_of_destinations_wins(ip: str, chain: str) -> None:
    chains = [tcp(name, prefix_ranges=[block(f"10.96.0.1/{name}")]) for name in ("8", "32", "24")]

    assert chain_for(connection(f"{ip}:80", RAW), *chains, tcp("any")) == chain


def test_the_longest_block_wins_though_a_shorter_one_alone_has_the_server_name() -> None:
    chains = [tcp("name", server_names=["a.example"]), tcp("block", prefix_ranges=[block("10.96.0.0/16")], server_names=["b.example"])]

    assert chain_for(connection("10.96.0.1:80", TLS("a.example")), *chains, default=True) == "default"


@pytest.mark.parametrize(
    ("name", "chain"),
    [("b.a.example", "exact"), ("c.a.example", "near"), ("d.c.a.example", "near"), ("a.example", "far"), ("a.test", "none"), ("", "none")],
)
def test_the_exact_server_name_wins_then_the_longest_wildcard_then_none(name: str, chain: str) -> None:
    chains = [
        tcp("far", server_names=["*.example"]),
        tcp("exact", server_names=["b.a.example"]),
        tcp("none"),
        tcp("near", server_names=["*.a.example"]),
    ]

    assert chain_for(connection("10.96.0.1:80", TLS(name)), *chains) == chain


def test_a_chain_by_server_name_is_not_left_for_one_that_has_the_protocol() -> None:
    chains = [tcp("name", server_names=["a.example"], application_protocols=["h2"]), tcp("protocol", application_protocols=["istio"])]

    assert chain_for(connection("10.96.0.1:80", TLS("a.example", ("istio",))), *chains, default=True) == "default"


def test_the_first_protocol_of_the_client_that_a_chain_names_decides() -> None:
    chains = [tcp("h1", application_protocols=["http/1.1"]), tcp("h2", application_protocols=["h2"])]

    assert chain_for(connection("10.96.0.1:80", TLS("a", ("spdy", "h2", "http/1.1"))), *chains) == "h2"


def test_the_source_decides_last() -> None:
    chains = [
        tcp("near", source_prefix_ranges=[block("10.250.0.0/24")]),
        tcp("port", source_prefix_ranges=[block("10.250.0.0/24")], source_ports=[40000]),
        tcp("far", source_prefix_ranges=[block("10.0.0.0/8")]),
        tcp("direct", direct_source_prefix_ranges=[block("192.0.2.0/24")]),
    ]

    assert chain_for(connection("10.96.0.1:80", RAW), *chains) == "port"
    assert chain_for(connection("10.96.0.1:80", RAW, source=Address("10.250.0.1", 1)), *chains) == "near"
    assert chain_for(connection("10.96.0.1:80", RAW, source=Address("10.9.0.1", 1)), *chains) == "far"
    assert chain_for(connection("10.96.0.1:80", RAW, source=Address("192.0.2.9", 1)), *chains) == "direct"


@pytest.mark.parametrize(("source", "chain"), [("127.0.0.1", "local"), ("10.96.0.1", "local"), ("10.96.0.2", "external")])
def test_a_connection_is_local_from_loopback_and_from_its_own_destination(source: str, chain: str) -> None:
    chains = [tcp("local", source_type="SAME_IP_OR_LOOPBACK"), tcp("external", source_type="EXTERNAL")]

    assert chain_for(connection("10.96.0.1:80", RAW, source=Address(source, 1)), *chains) == chain


def test_whole_connections_go_to_clusters_by_weight_and_none_by_the_weight_zero() -> None:
    weights = {"weighted_clusters": {"clusters": [{"name": "a", "weight": 1}, {"name": "b", "weight": 3}]}}
    own = listener("0.0.0.0", 80, tcp("", name="weighted", proxy=weights))
    clusters = {"a": cluster("a", "1.1.1.1:1"), "b": cluster("b", "2.1.1.1:1")}

    found = simulate(connection("10.96.0.1:80", RAW), Resources(listeners=(virtual_outbound(), own), clusters=clusters))

    assert [(outcome.landing, outcome.share) for outcome in found.outcomes] == [
        (Forwarded("a", frozenset(["1.1.1.1:1"])), Fraction(1, 4)),
        (Forwarded("b", frozenset(["2.1.1.1:1"])), Fraction(3, 4)),
    ]


@pytest.mark.parametrize(
    ("first_bytes", "landing"),
    [(PlainHttp(), AwaitsRequests("t")), (RAW, Answered(400)), (TLS("a"), Answered(400)), (Silence(), AwaitsBytes())],
)
def test_the_connection_manager_takes_http_and_answers_the_rest_itself(first_bytes: FirstBytes, landing: Landing) -> None:
    own = listener("0.0.0.0", 80, http("t"))

    found = simulate(connection("10.96.0.1:80", first_bytes), Resources(listeners=(virtual_outbound(), own)))

    assert found.landings == {landing}


def test_a_chain_that_ends_tls_takes_nothing_else_and_sees_http_within() -> None:
    secure = http("t")
    secure.transport_socket.typed_config.CopyFrom(pack(DownstreamTlsContext()))
    resources = Resources(listeners=(virtual_outbound(), listener("0.0.0.0", 80, secure, inspectors="tls")))

    assert simulate(connection("10.96.0.1:80", TLS("a")), resources).landings == {AwaitsRequests("t")}
    assert simulate(connection("10.96.0.1:80", RAW), resources).landings == {Closed()}


def test_each_step_says_what_was_chosen_of_which_resource_and_why() -> None:
    own = listener("0.0.0.0", 443, tcp("a", server_names=["*.example"]), inspectors="tls")
    resources = Resources(listeners=(virtual_outbound(), own), clusters={"a": cluster("a", "1.1.1.1:1")})

    [outcome] = simulate(connection("192.0.2.1:443", TLS("a.example")), resources).outcomes

    assert [(step.resource, step.chosen) for step in outcome.steps] == [
        ("virtualOutbound", "virtualOutbound"),
        ("virtualOutbound", "0.0.0.0_443"),
        ("0.0.0.0_443", "tls"),
        ("0.0.0.0_443", "a"),
        ("a", "a"),
        ("a", "1.1.1.1:1"),
    ]
    assert outcome.steps[3].reason == "the server name is *.example"
