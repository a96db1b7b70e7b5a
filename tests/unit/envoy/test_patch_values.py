"""Values of patches: JSON becomes one of Envoy's messages, with what is wrong with each field, and messages are merged."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

import pytest
from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.config.listener.v3.listener_components_pb2 import Filter, FilterChainMatch
from envoy.extensions.filters.http.lua.v3.lua_pb2 import Lua
from envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2 import HttpConnectionManager
from google.protobuf.message import Message

from controlplane.envoy.packing import pack
from controlplane.envoy.patching.json_values import read_message
from controlplane.envoy.patching.merging import merge

MANAGER = "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
LUA = "type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua"
M = TypeVar("M", bound=Message)
STRUCT = "type.googleapis.com/udpa.type.v1.TypedStruct"


def merged(target: M, value: Mapping[str, object], *, replaces_lists: bool = False) -> M:
    reading = read_message(type(target), value, "")
    assert reading.faults == ()
    merge(target, reading.message, reading.cleared, replaces_lists=replaces_lists)
    return target


def test_lists_and_maps_have_all_their_items() -> None:
    written = {"application_protocols": ["a", "b"], "server_names": ["c", "d"], "prefix_ranges": [{"address_prefix": "10.0.0.0"}, {}]}

    found = read_message(FilterChainMatch, written, "").message

    assert isinstance(found, FilterChainMatch)
    assert (list(found.application_protocols), list(found.server_names), len(found.prefix_ranges)) == (["a", "b"], ["c", "d"], 2)


def test_entries_of_a_map_are_all_there() -> None:
    written = {"metadata": {"filter_metadata": {"a": {"x": 1}, "b": {"y": [1, 2]}}}, "alt_stat_name": "z"}

    found = read_message(Cluster, written, "").message

    assert isinstance(found, Cluster)
    assert {name: dict(struct) for name, struct in found.metadata.filter_metadata.items()}.keys() == {"a", "b"}


@pytest.mark.parametrize("name", ["stat_prefix", "statPrefix"])
def test_fields_are_written_in_either_way(name: str) -> None:
    assert read_message(HttpConnectionManager, {name: "a"}, "").message == HttpConnectionManager(stat_prefix="a")


def test_a_typed_struct_becomes_what_it_names() -> None:
    struct = {"@type": STRUCT, "type_url": LUA, "value": {"inlineCode": "a"}}

    found = read_message(Filter, {"name": "x", "typed_config": struct}, "")

    assert found.faults == ()
    assert found.message == Filter(name="x", typed_config=pack(Lua(inline_code="a")))


@pytest.mark.parametrize("type_url", [LUA, "type.googleapis.com/envoy.of.another.v3.Build"])
def test_a_typed_struct_with_what_is_not_known_is_passed_on(type_url: str) -> None:
    struct = {"@type": STRUCT, "type_url": type_url, "value": {"of_tomorrow": 1}}

    found = read_message(Filter, {"name": "x", "typed_config": struct}, "")

    assert [fault.passed_on for fault in found.faults] == [True]
    assert isinstance(found.message, Filter)
    assert found.message.typed_config.type_url == STRUCT


def test_a_packed_message_is_merged_into_one_of_its_type_and_replaces_one_of_another() -> None:
    manager = Filter(name="x", typed_config=pack(HttpConnectionManager(stat_prefix="a", server_name="b")))

    same = merged(manager, {"typed_config": {"@type": MANAGER, "server_name": "c"}})
    assert same == Filter(name="x", typed_config=pack(HttpConnectionManager(stat_prefix="a", server_name="c")))

    other = merged(manager, {"typed_config": {"@type": LUA, "inline_code": "d"}})
    assert other == Filter(name="x", typed_config=pack(Lua(inline_code="d")))


def test_what_is_written_as_its_default_gets_it() -> None:
    manager = HttpConnectionManager(use_remote_address={"value": True}, xff_num_trusted_hops=3, stat_prefix="a")

    merged(manager, {"use_remote_address": False, "xff_num_trusted_hops": 0})

    assert manager == HttpConnectionManager(use_remote_address={"value": False}, stat_prefix="a")


def test_durations_are_replaced_as_a_whole_and_lists_appended_or_replaced() -> None:
    cluster = Cluster(connect_timeout={"seconds": 5, "nanos": 7}, health_checks=[{"timeout": {"seconds": 1}}])
    check = {"health_checks": [{"timeout": "2s"}], "connect_timeout": "3s"}

    assert len(merged(cluster, check).health_checks) == 2
    assert cluster.connect_timeout.ToMilliseconds() == 3000
    assert [each.timeout.seconds for each in merged(cluster, check, replaces_lists=True).health_checks] == [2]
