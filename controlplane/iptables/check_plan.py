"""Which connections show whether a Capture holds, and where each has to end."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import ip_address
from itertools import islice

from controlplane.iptables.rules import INBOUND, IptablesRule, iptables_rules
from controlplane.iptables.settings import DNS_PORT, Address, Capture, Family, InterceptionMode, Network

OUTSIDE = {
    Family.V4: ip_address("192.0.2.1"),
    Family.V6: ip_address("2001:db8::1"),
}  # for documentation: nobody has them (RFC 5737, RFC 3849)
_A_FEW = 5  # of a long list of ports or blocks


class Role(StrEnum):
    """Whose connection it is."""

    APPLICATION = "the application"
    PROXY = "the proxy"


@dataclass(frozen=True, slots=True)
class ConnectionTest:
    """A connection of ``role``, and the proxy's port that it has to come to; ``None``: it has to go by."""

    role: Role
    address: Address
    port: int
    expected: int | None

    def __str__(self) -> str:
        """Return the connection in words."""
        host = f"[{self.address}]" if self.address.version == 6 else str(self.address)
        return f"{self.role} to {host}:{self.port}"


def connection_tests(wanted: Capture, family: Family, own: Address | None) -> tuple[ConnectionTest, ...]:
    """Return what to try for ``family``; with ``own``, the workload's address, calls to itself too."""
    found = [
        *_outbound(wanted, family),
        ConnectionTest(Role.APPLICATION, ip_address(family.loopback.partition("/")[0]), _any_port(wanted), None),
        ConnectionTest(Role.PROXY, OUTSIDE[family], _any_port(wanted), None),
    ]
    if own is not None:
        found += _to_itself(wanted, own)
    return tuple(dict.fromkeys(found))


def rules_from_outside(wanted: Capture, family: Family) -> tuple[IptablesRule, ...]:
    """Return the rules that no connection from within meets: they are for what comes from outside."""
    return tuple(rule for rule in iptables_rules(wanted, family) if rule.chain in {"PREROUTING", INBOUND})


def _outbound(wanted: Capture, family: Family) -> Iterator[ConnectionTest]:
    port, outside = _any_port(wanted), OUTSIDE[family]
    targets: list[tuple[Address, int]] = [(outside, port)]
    targets += ((_within(block), port) for ranges in (wanted.ranges, wanted.ranges_excluded) for block in islice(ranges.of(family), _A_FEW))
    targets += ((outside, each) for numbers in (wanted.outbound, wanted.outbound_excluded) for each in numbers[:_A_FEW])
    if wanted.dns:
        targets += ((outside, DNS_PORT), *((_within(block), DNS_PORT) for block in islice(wanted.dns_servers.of(family), _A_FEW)))
    for address, number in targets:
        if not (address.is_loopback or address.is_unspecified):
            yield ConnectionTest(Role.APPLICATION, address, number, wanted.takes_outbound(address, number))


def _to_itself(wanted: Capture, own: Address) -> Iterator[ConnectionTest]:
    port = _any_port(wanted)
    yield ConnectionTest(Role.APPLICATION, own, port, None)
    if wanted.mode is InterceptionMode.REDIRECT:
        yield ConnectionTest(Role.PROXY, own, port, wanted.inbound_port)
        return
    for number in (port, *wanted.inbound.numbers[:_A_FEW], *wanted.inbound_excluded[:_A_FEW]):
        yield ConnectionTest(Role.PROXY, own, number, wanted.inbound_port if wanted.takes_inbound(number) else None)


def _any_port(wanted: Capture) -> int:
    """Return a port that no rule names, and that hardly anybody listens on."""
    named = {
        *wanted.inbound_excluded,
        *wanted.outbound,
        *wanted.outbound_excluded,
        *wanted.inbound.numbers,
        wanted.outbound_port,
        wanted.inbound_port,
        wanted.tunnel_port,
        wanted.dns_port,
    }
    return next(port for port in range(15_999, 0, -1) if port not in named)


def _within(block: Network) -> Address:
    return block[1] if block.num_addresses > 1 else block[0]
