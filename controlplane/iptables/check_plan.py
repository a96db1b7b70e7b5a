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


def connection_tests(capture: Capture, family: Family, own_address: Address | None) -> tuple[ConnectionTest, ...]:
    """Return what to try for ``family``; with ``own_address``, the workload's address, calls to itself too."""
    tests = [
        *_outbound(capture, family),
        ConnectionTest(Role.APPLICATION, ip_address(family.loopback.partition("/")[0]), _any_port(capture), None),
        ConnectionTest(Role.PROXY, OUTSIDE[family], _any_port(capture), None),
    ]
    if own_address is not None:
        tests += _to_itself(capture, own_address)
    return tuple(dict.fromkeys(tests))


def rules_from_outside(capture: Capture, family: Family) -> tuple[IptablesRule, ...]:
    """Return the rules that no connection from within meets: they are for what comes from outside."""
    return tuple(rule for rule in iptables_rules(capture, family) if rule.chain in {"PREROUTING", INBOUND})


def _outbound(capture: Capture, family: Family) -> Iterator[ConnectionTest]:
    port, outside = _any_port(capture), OUTSIDE[family]
    targets: list[tuple[Address, int]] = [(outside, port)]
    targets += (
        (_within(block), port) for ranges in (capture.ranges, capture.ranges_excluded) for block in islice(ranges.of_family(family), _A_FEW)
    )
    targets += ((outside, number) for numbers in (capture.outbound, capture.outbound_excluded) for number in numbers[:_A_FEW])
    if capture.dns:
        targets += ((outside, DNS_PORT), *((_within(block), DNS_PORT) for block in islice(capture.dns_servers.of_family(family), _A_FEW)))
    for address, number in targets:
        if not (address.is_loopback or address.is_unspecified):
            yield ConnectionTest(Role.APPLICATION, address, number, capture.outbound_port_for(address, number))


def _to_itself(capture: Capture, own_address: Address) -> Iterator[ConnectionTest]:
    port = _any_port(capture)
    yield ConnectionTest(Role.APPLICATION, own_address, port, None)
    if capture.mode is InterceptionMode.REDIRECT:
        yield ConnectionTest(Role.PROXY, own_address, port, capture.inbound_port)
        return
    for number in (port, *capture.inbound.numbers[:_A_FEW], *capture.inbound_excluded[:_A_FEW]):
        yield ConnectionTest(Role.PROXY, own_address, number, capture.inbound_port if capture.captures_inbound(number) else None)


def _any_port(capture: Capture) -> int:
    """Return a port that no rule names, and that hardly anybody listens on."""
    named = {
        *capture.inbound_excluded,
        *capture.outbound,
        *capture.outbound_excluded,
        *capture.inbound.numbers,
        capture.outbound_port,
        capture.inbound_port,
        capture.tunnel_port,
        capture.dns_port,
    }
    return next(port for port in range(15_999, 0, -1) if port not in named)


def _within(block: Network) -> Address:
    return block[1] if block.num_addresses > 1 else block[0]
