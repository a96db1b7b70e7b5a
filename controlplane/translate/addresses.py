"""Small pieces that many messages have."""

from __future__ import annotations

from ipaddress import ip_interface
from typing import assert_never

from envoy.config.core.v3.address_pb2 import Address, CidrRange
from envoy.config.core.v3.base_pb2 import Metadata, TrafficDirection
from envoy.config.core.v3.config_source_pb2 import ApiVersion, ConfigSource
from envoy.config.listener.v3.listener_pb2 import AdditionalAddress, Listener
from envoy.type.v3.percent_pb2 import FractionalPercent
from google.protobuf.duration_pb2 import Duration

from controlplane.envoy.packing import struct
from controlplane.model.proxies import IpFamilies

UNIX = "unix://"
WILDCARD, _WILDCARD_V6 = "0.0.0.0", "[::]"  # Istio's names for a listener that is told from others by its port alone
LOAD_BALANCING = "envoy.lb"  # metadata that load balancers look at
ADDRESS_KEY = "address"  # of an endpoint, in it
ALWAYS = 1_000_000  # in millionths


def milliseconds(value: int) -> Duration:
    """Return ``value`` milliseconds."""
    return Duration(seconds=value // 1000, nanos=value % 1000 * 1_000_000)


def socket_address(address: str, port: int) -> Address:
    """Return the address that connections go to or come to: ``port`` of an IP address or a name, or ``unix://PATH``."""
    message = Address()
    set_address(message, address, port)
    return message


def set_address(message: Address, address: str, port: int) -> None:
    """Have ``message``, which is empty, say what ``socket_address`` does."""
    if address.startswith(UNIX):
        message.pipe.path = address.removeprefix(UNIX)
    else:
        message.socket_address.address = address.strip("[]")
        message.socket_address.port_value = port


def wildcard(families: IpFamilies) -> tuple[str, ...]:
    """Return where a listener for all addresses of ``families`` listens: first the address that it is called by."""
    match families:
        case IpFamilies.V4:
            return (WILDCARD,)
        case IpFamilies.V6:
            return (_WILDCARD_V6,)
        case IpFamilies.BOTH:
            return (WILDCARD, _WILDCARD_V6)
        case _:
            assert_never(families)


def listening(name: str, binds: tuple[str, ...], port: int, direction: TrafficDirection) -> Listener:
    """Return the listener ``name`` at ``port`` of each of ``binds``, with nothing in it."""
    listener = Listener(name=name, address=socket_address(binds[0], port), traffic_direction=direction)
    listener.additional_addresses.extend(AdditionalAddress(address=socket_address(bind, port)) for bind in binds[1:])
    return listener


def block(cidr: str) -> CidrRange:
    """Return the addresses of ``cidr``, ``ADDRESS/LENGTH``; without a length one address."""
    network = ip_interface(cidr).network
    return CidrRange(address_prefix=str(network.network_address), prefix_len={"value": network.prefixlen})


def ads() -> ConfigSource:
    """Return that a resource comes on the stream that named it; Envoy waits for it as long as it takes, as we always answer."""
    return ConfigSource(ads={}, resource_api_version=ApiVersion.V3, initial_fetch_timeout=Duration())


def fraction(per_million: int) -> FractionalPercent:
    """Return the share of ``per_million``."""
    return FractionalPercent(numerator=per_million, denominator=FractionalPercent.MILLION)


def endpoint_at(address: str) -> Metadata:
    """Return what tells the endpoint at ``address`` from the others of its cluster, where clients choose one themselves."""
    return Metadata(filter_metadata={LOAD_BALANCING: struct({ADDRESS_KEY: address})})
