"""What of a pod's traffic goes through its Envoy, as its annotations and ``istio-init``'s options say it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network
from typing import TypeAlias, TypeVar

from controlplane.errors import UserError
from controlplane.model.hosts import is_ip
from controlplane.model.proxies import TPROXY_MARK

Address: TypeAlias = IPv4Address | IPv6Address
Network: TypeAlias = IPv4Network | IPv6Network

_Value = TypeVar("_Value")

EVERYTHING = "*"
DNS_PORT = 53
_MAX_DIGITS = 10
_INTERFACE = re.compile(r"[A-Za-z0-9_.@:-]{1,15}\+?")  # the kernel allows more, iptables files do not


class BadIptablesOption(UserError):
    """The value of an option that is not possible: which option, and what was expected."""


class InterceptionMode(StrEnum):
    """How connections from outside are given to the Envoy."""

    REDIRECT = "REDIRECT"  # by a new destination: the application sees the Envoy's address
    TPROXY = "TPROXY"  # by a socket that takes what is meant for others: the client's address stays


class Family(StrEnum):
    """A family of addresses: each has rules of its own."""

    V4 = "IPv4"
    V6 = "IPv6"

    @property
    def loopback(self) -> str:
        """Return the block that a workload calls itself by."""
        return "127.0.0.1/32" if self is Family.V4 else "::1/128"

    @property
    def passthrough(self) -> str:
        """Return the address that an Envoy connects to its own workload from: what comes from there has passed the Envoy."""
        return "127.0.0.6/32" if self is Family.V4 else "::6/128"

    def includes(self, block: Address | Network) -> bool:
        """Say whether ``block`` is of this family."""
        return (block.version == 4) is (self is Family.V4)


@dataclass(frozen=True, slots=True)
class Ports:
    """Some ports, or every one."""

    numbers: tuple[int, ...] = ()
    every: bool = False

    def __contains__(self, port: int) -> bool:
        """Say whether ``port`` is one of them."""
        return self.every or port in self.numbers

    def __bool__(self) -> bool:
        """Say whether there are any."""
        return self.every or bool(self.numbers)


@dataclass(frozen=True, slots=True)
class Ranges:
    """Some blocks of addresses, or every address."""

    blocks: tuple[Network, ...] = ()
    every: bool = False

    def __contains__(self, address: Address) -> bool:
        """Say whether ``address`` is in one of them."""
        return self.every or any(address in block for block in self.blocks)

    def __bool__(self) -> bool:
        """Say whether there are any."""
        return self.every or bool(self.blocks)

    def of_family(self, family: Family) -> tuple[Network, ...]:
        """Return the blocks of ``family``."""
        return tuple(block for block in self.blocks if family.includes(block))


@dataclass(frozen=True, slots=True, kw_only=True)
class Capture:
    """What is captured, and where to. What is excluded is never captured, whatever includes it."""

    mode: InterceptionMode = InterceptionMode.REDIRECT
    outbound_port: int = 15001
    inbound_port: int = 15006
    tunnel_port: int = 15008  # of HBONE: meant for the proxy itself
    dns_port: int = 15053
    mark: int = TPROXY_MARK  # of packets that TPROXY delivers; one more marks what the proxy sends to its own workload
    table: int = 133  # of the routes for marked packets
    uids: tuple[int, ...] = (1337,)
    gids: tuple[int, ...] = (1337,)
    inbound: Ports = field(default_factory=lambda: Ports(every=True))
    inbound_excluded: tuple[int, ...] = ()
    outbound: tuple[int, ...] = ()  # taken wherever they lead
    outbound_excluded: tuple[int, ...] = ()
    ranges: Ranges = field(default_factory=lambda: Ranges(every=True))
    ranges_excluded: Ranges = Ranges()
    interfaces_excluded: tuple[str, ...] = ()
    interfaces_outbound: tuple[str, ...] = ()  # what comes in by these is a guest's outbound traffic
    dns: bool = False
    dns_servers: Ranges = field(default_factory=lambda: Ranges(every=True))
    drop_invalid: bool = False

    def captures_inbound(self, port: int) -> bool:
        """Say whether a connection from outside to ``port`` comes to the proxy."""
        return port in self.inbound and port not in (*self.inbound_excluded, self.tunnel_port)

    def outbound_port_for(self, address: Address, port: int) -> int | None:
        """Return the proxy's port that an application's connection to ``address`` and ``port`` comes to; ``None`` where it goes by."""
        if port in self.outbound_excluded:
            return None
        if self.dns and port == DNS_PORT and address in self.dns_servers:
            return self.dns_port
        if address.is_loopback or address in self.ranges_excluded:
            return None
        return self.outbound_port if port in self.outbound or address in self.ranges else None


def ports(text: str, option: str) -> Ports:
    """Return the ports that ``text`` names, which ``option`` was given: numbers between commas, or ``*``."""
    if text.strip() == EVERYTHING:
        return Ports(every=True)
    return Ports(port_numbers(text, option))


def port_numbers(text: str, option: str) -> tuple[int, ...]:
    """Return the ports that ``text`` names, which ``option`` was given: numbers between commas."""
    return tuple(_unique(_number(part, option, 1, 65535) for part in _parts(text)))


def ids(text: str, option: str) -> tuple[int, ...]:
    """Return the ids of users or groups that ``text`` names, which ``option`` was given: numbers between commas."""
    return tuple(_unique(_number(part, option, 0, 2**32 - 2) for part in _parts(text)))


def ranges(text: str, option: str) -> Ranges:
    """Return the blocks that ``text`` names, which ``option`` was given: blocks or addresses between commas, or ``*``."""
    if text.strip() == EVERYTHING:
        return Ranges(every=True)
    return Ranges(blocks(text, option))


def blocks(text: str, option: str) -> tuple[Network, ...]:
    """Return the blocks that ``text`` names, which ``option`` was given: blocks or addresses between commas."""
    return tuple(_unique(_block(part, option) for part in _parts(text)))


def interfaces(text: str, option: str) -> tuple[str, ...]:
    """Return the interfaces that ``text`` names, which ``option`` was given: names between commas, with ``+`` for any ending."""
    names = tuple(_unique(_parts(text)))
    for name in names:
        if not _INTERFACE.fullmatch(name):
            raise BadIptablesOption(f"{option}: {name!r} is no interface's name; expected at most 15 letters, digits and any of _.@:-")
    return names


def nameservers(resolv_conf: str) -> Ranges:
    """Return the servers that the text ``resolv_conf`` names, as resolv.conf(5) has it."""
    fields = (line.split()[1:2] for line in resolv_conf.splitlines() if line.startswith("nameserver"))
    servers = (field[0].partition("%")[0] for field in fields if field)
    return Ranges(tuple(_unique(ip_network(server) for server in servers if is_ip(server))))  # resolvers too leave out what is no address


def _parts(text: str) -> Iterable[str]:
    return (part.strip() for part in text.split(",") if part.strip())


def _number(text: str, option: str, least: int, most: int) -> int:
    if not text.isascii() or not text.isdecimal() or len(text) > _MAX_DIGITS or not least <= int(text) <= most:
        raise BadIptablesOption(f"{option}: expected a number from {least} to {most}, found {text[:80]!r}")
    return int(text)


def _block(text: str, option: str) -> Network:
    try:
        if "%" not in text:  # of a zone Python takes whatever it is, and rules are text
            return ip_network(text, strict=False)
    except ValueError:
        pass
    raise BadIptablesOption(f"{option}: expected a block of addresses such as 10.0.0.0/8, found {text!r}")


def _unique(values: Iterable[_Value]) -> Iterable[_Value]:
    return dict.fromkeys(values)
