"""Where an IP address leads: to the public net, to a private one, to the machine itself, or to its cloud's own services."""

from __future__ import annotations

from enum import StrEnum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import TypeAlias

Address: TypeAlias = IPv4Address | IPv6Address
Network: TypeAlias = IPv4Network | IPv6Network

# https://www.iana.org/assignments/ipv6-address-space: nothing else is public
_GLOBAL_UNICAST = IPv6Network("2000::/3")
# Addresses with an IPv4 address as their last 32 bits: RFC 4291 (compatible, mapped), 7915 (translated), 6052 (NAT64).
_EMBEDDING = tuple(IPv6Network(f"{prefix}/96") for prefix in ("::", "::ffff:0:0", "::ffff:0:0:0", "64:ff9b::"))
_THIS_NETWORK = IPv4Network("0.0.0.0/8")  # this machine for many a system
_LOOPBACK = (IPv4Network("127.0.0.0/8"), IPv6Network("::1/128"))
_LINK_LOCAL = (IPv4Network("169.254.0.0/16"), IPv6Network("fe80::/10"))
# Where clouds answer their machines, apart from 169.254.169.254: AWS (IPv6), Alibaba, Azure, Oracle.
_METADATA = frozenset(map(ip_address, ("fd00:ec2::254", "100.100.100.200", "168.63.129.16", "192.0.0.192")))


class Reach(StrEnum):
    """What kind of place an address is."""

    PUBLIC = "public"
    PRIVATE = "private"
    LOOPBACK = "loopback"
    LINK_LOCAL = "link-local"
    METADATA = "metadata"
    NOWHERE = "unusable"  # unspecified, multicast, reserved


def parse_address(text: str) -> Address | None:
    """Return the address that ``text`` means, without what IPv6 wraps around one of IPv4; ``None`` where it is none."""
    try:
        address = ip_address(text.strip("[]").partition("%")[0])
    except ValueError:
        return None
    return _unwrapped(address) if isinstance(address, IPv6Address) else address


def reach(address: Address) -> Reach:
    """Return what kind of place ``address`` is."""
    if address in _METADATA:
        return Reach.METADATA
    for kind, networks in ((Reach.LOOPBACK, _LOOPBACK), (Reach.LINK_LOCAL, _LINK_LOCAL)):
        if any(address in network for network in networks):
            return kind
    if address.is_unspecified or address.is_multicast or address in _THIS_NETWORK or (address.version == 4 and address.is_reserved):
        return Reach.NOWHERE
    return Reach.PUBLIC if address.is_global and (address.version == 4 or address in _GLOBAL_UNICAST) else Reach.PRIVATE


def special_range(address: Address) -> Network | None:
    """Return the range that makes ``address`` special where it is neither public nor just private: of metadata it is one address."""
    if address in _METADATA:
        return ip_network(address)
    return next((network for network in (*_LOOPBACK, *_LINK_LOCAL) if address in network), None)


def _unwrapped(address: IPv6Address) -> Address:
    if address.sixtofour is not None:
        return address.sixtofour
    last = int(address) & 0xFFFF_FFFF
    if last > 1 and any(address in network for network in _EMBEDDING):
        return IPv4Address(last)
    return address
