"""A message as JSON in pieces is the message as JSON, and no piece is large."""

from __future__ import annotations

import json

import pytest
from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.config.core.v3.base_pb2 import Metadata
from envoy.config.endpoint.v3.endpoint_pb2 import ClusterLoadAssignment
from envoy.config.listener.v3.listener_pb2 import Listener
from envoy.config.route.v3.route_pb2 import RouteConfiguration
from envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2 import HttpConnectionManager
from google.protobuf.message import Message
from google.protobuf.struct_pb2 import Struct

from controlplane.envoy.packing import encode, expand, json_pieces, pack
from controlplane.envoy.type_urls import PREFIX

LARGEST = 64 << 10  # bytes of JSON of one piece


def routes(count: int) -> RouteConfiguration:
    found = RouteConfiguration(name='ä"', ignore_port_in_host_matching=True)
    for number in range(count):
        host = found.virtual_hosts.add(name=f"h{number}", domains=[f"h{number}.example", f"h{number}.example:80"])
        route = host.routes.add(name="r")
        route.match.prefix = "/"
        route.route.cluster = f"c{number}"
        route.route.timeout.FromMilliseconds(1500)
        route.metadata.filter_metadata["navarch"].update({"number": number, "list": [1, "a", None]})
    return found


def endpoints(count: int) -> ClusterLoadAssignment:
    found = ClusterLoadAssignment(cluster_name="c")
    locality = found.endpoints.add()
    locality.locality.region = "r"
    for number in range(count):
        address = locality.lb_endpoints.add().endpoint.address.socket_address
        address.address, address.port_value = f"10.0.{number // 250}.{number % 250}", 80
    return found


def listener(count: int) -> Listener:
    found = Listener(name="l")
    for number in range(3):
        manager = HttpConnectionManager(stat_prefix=f"p{number}", route_config=routes(count))
        found.filter_chains.add(name=f"f{number}").filters.add(name="http").typed_config.CopyFrom(pack(manager))
    found.filter_chains[0].filters.add(name="settings").typed_config.CopyFrom(pack(large_struct()))
    return found


def large_struct() -> Struct:
    found = Struct()
    found.update({f"k{number}": "v" * 100 for number in range(60)})
    return found


def with_maps() -> Cluster:
    found = Cluster(name="c" * 5000)
    found.metadata.CopyFrom(Metadata(filter_metadata={"a": large_struct(), "b": Struct()}))
    found.typed_extension_protocol_options["x"].CopyFrom(pack(routes(50)))
    found.connect_timeout.FromMilliseconds(250)
    return found


@pytest.mark.parametrize(
    "message",
    [
        Cluster(),
        Cluster(name="a"),
        routes(0),
        routes(1),
        routes(500),
        endpoints(2),
        endpoints(2000),
        listener(1),
        listener(200),
        with_maps(),
    ],
    ids=lambda message: f"{message.DESCRIPTOR.name}-{message.ByteSize()}",
)
def test_pieces_are_the_whole(message: Message) -> None:
    type_url, value = PREFIX + message.DESCRIPTOR.full_name, encode(message)

    pieces = list(json_pieces(type_url, value))

    assert json.loads(b"".join(pieces)) == expand(type_url, value)
    assert max(map(len, pieces)) <= LARGEST
    assert len(pieces) >= message.ByteSize() / LARGEST
