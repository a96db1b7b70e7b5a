"""The rules of iptables that a Capture results in, with the chains and the order of Istio's.

https://istio.io/latest/docs/ops/deployment/application-requirements/ names the user and the ports that they leave alone.
A rule in a chain of the kernel's own that does not lead to one of ours carries a comment, so that ours can be told from others'.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from controlplane.iptables.settings import DNS_PORT, Capture, Family, InterceptionMode

CHAIN_PREFIX = "ISTIO_"  # what the name of each of our chains begins with
COMMENT = "navarch"
INBOUND, IN_REDIRECT, OUTPUT, REDIRECT = "ISTIO_INBOUND", "ISTIO_IN_REDIRECT", "ISTIO_OUTPUT", "ISTIO_REDIRECT"
OUTPUT_DNS, DIVERT, TPROXY, DROP = "ISTIO_OUTPUT_DNS", "ISTIO_DIVERT", "ISTIO_TPROXY", "ISTIO_DROP"
_TAG = f"-m comment --comment {COMMENT}"


class IptablesRule(NamedTuple):
    """A rule, in the words of iptables."""

    table: str
    chain: str
    spec: str


def iptables_rules(capture: Capture, family: Family) -> tuple[IptablesRule, ...]:
    """Return the rules of ``capture`` for ``family``, in the order in which they are to stand."""
    nat = [
        *(IptablesRule("nat", "PREROUTING", spec) for spec in _excluded_interfaces(capture, "-i")),
        *(IptablesRule("nat", "OUTPUT", spec) for spec in _excluded_interfaces(capture, "-o")),
        IptablesRule("nat", REDIRECT, f"-p tcp -j REDIRECT --to-ports {capture.outbound_port}"),
        IptablesRule("nat", IN_REDIRECT, f"-p tcp -j REDIRECT --to-ports {capture.inbound_port}"),
        *(IptablesRule("nat", "PREROUTING", spec) for spec in _guests(capture, family)),
        *_inbound(capture, family),
        IptablesRule("nat", "OUTPUT", f"-j {OUTPUT}"),
        *(IptablesRule("nat", OUTPUT, spec) for spec in _output(capture, family)),
        *_dns(capture, family),
    ]
    drop = [IptablesRule("mangle", "PREROUTING", f"-m conntrack --ctstate INVALID -j {DROP}"), IptablesRule("mangle", DROP, "-j DROP")]
    return tuple(nat + (drop if capture.drop_invalid else []))


def _excluded_interfaces(capture: Capture, direction: str) -> Iterator[str]:
    return (f"{direction} {name} {_TAG} -j RETURN" for name in capture.interfaces_excluded)


def _guests(capture: Capture, family: Family) -> Iterator[str]:
    """Yield what makes the traffic of virtual machines within the pod outbound traffic: it comes in by interfaces of their own."""
    for name in capture.interfaces_outbound:
        yield from (f"-i {name} -d {block} {_TAG} -j RETURN" for block in capture.ranges_excluded.of_family(family))
        if capture.ranges.every:
            yield f"-i {name} -j {REDIRECT}"
        yield from (f"-i {name} -d {block} -j {REDIRECT}" for block in capture.ranges.of_family(family))
        yield f"-i {name} {_TAG} -j RETURN"


def _inbound(capture: Capture, family: Family) -> Iterator[IptablesRule]:
    if not capture.inbound:
        return
    transparent = capture.mode is InterceptionMode.TPROXY
    table = "mangle" if transparent else "nat"
    if transparent:
        yield from _transparent(capture, family)
    yield IptablesRule(table, "PREROUTING", f"-p tcp -j {INBOUND}")
    if transparent:
        yield IptablesRule(table, INBOUND, f"-p tcp -m mark --mark {capture.mark} -j RETURN")
        yield IptablesRule(table, INBOUND, f"-s {family.passthrough} -i lo -p tcp -j RETURN")
        yield IptablesRule(table, INBOUND, f"-i lo -p tcp -m mark ! --mark {capture.mark + 1} -j RETURN")
    excluded = (port for port in capture.inbound_excluded if port in capture.inbound)
    for port in (capture.tunnel_port, *excluded):
        yield IptablesRule(table, INBOUND, f"-p tcp --dport {port} -j RETURN")
    for match in ("",) if capture.inbound.every else tuple(f" --dport {port}" for port in capture.inbound.numbers):
        if transparent:
            yield IptablesRule(table, INBOUND, f"-p tcp{match} -m conntrack --ctstate RELATED,ESTABLISHED -j {DIVERT}")
        yield IptablesRule(table, INBOUND, f"-p tcp{match} -j {TPROXY if transparent else IN_REDIRECT}")
    if transparent:
        yield IptablesRule(table, "PREROUTING", f"-p tcp -m mark --mark {capture.mark} {_TAG} -j CONNMARK --save-mark")


def _transparent(capture: Capture, family: Family) -> Iterator[IptablesRule]:
    """Yield what marks packets: those for the proxy's sockets, its own to its workload, and the answers to these."""
    mark = capture.mark
    yield from (IptablesRule("mangle", "PREROUTING", spec) for spec in _excluded_interfaces(capture, "-i"))
    yield from (IptablesRule("mangle", "PREROUTING", f"-i {name} {_TAG} -j RETURN") for name in capture.interfaces_outbound)
    yield from (IptablesRule("mangle", "OUTPUT", spec) for spec in _excluded_interfaces(capture, "-o"))
    yield IptablesRule("mangle", DIVERT, f"-j MARK --set-mark {mark}")
    yield IptablesRule("mangle", DIVERT, "-j ACCEPT")
    yield IptablesRule(
        "mangle", TPROXY, f"! -d {family.loopback} -p tcp -j TPROXY --tproxy-mark {mark:#x}/0xffffffff --on-port {capture.inbound_port}"
    )
    yield IptablesRule("mangle", "OUTPUT", f"-o lo -p tcp -m mark --mark {mark} {_TAG} -j RETURN")
    for owner in _owners(capture):
        yield IptablesRule("mangle", "OUTPUT", f"! -d {family.loopback} -o lo -p tcp -m owner {owner} {_TAG} -j MARK --set-mark {mark + 1}")
    yield IptablesRule("mangle", "OUTPUT", f"-p tcp -m connmark --mark {mark} {_TAG} -j CONNMARK --restore-mark")


def _owners(capture: Capture) -> Iterator[str]:
    yield from (f"--uid-owner {uid}" for uid in capture.uids)
    yield from (f"--gid-owner {gid}" for gid in capture.gids)


def _output(capture: Capture, family: Family) -> Iterator[str]:
    yield from (f"-p tcp --dport {port} -j RETURN" for port in capture.outbound_excluded)
    yield f"-o lo -s {family.passthrough} -j RETURN"
    own_ports = f"-m multiport ! --dports {DNS_PORT},{capture.tunnel_port}" if capture.dns else f"! --dport {capture.tunnel_port}"
    own_calls = f"-p tcp ! --dport {DNS_PORT} " if capture.dns else ""
    for owner in _owners(capture):
        if capture.mode is InterceptionMode.REDIRECT:  # of TPROXY the marks do it
            yield f"-o lo ! -d {family.loopback} -p tcp {own_ports} -m owner {owner} -j {IN_REDIRECT}"
        yield f"-o lo {own_calls}-m owner ! {owner} -j RETURN"
        yield f"-m owner {owner} -j RETURN"
    if capture.dns:
        for block in _servers(capture, family):
            yield f"-p tcp{block and f' -d {block}'} --dport {DNS_PORT} -j REDIRECT --to-ports {capture.dns_port}"
    yield f"-d {family.loopback} -j RETURN"
    yield from (f"-d {block} -j RETURN" for block in capture.ranges_excluded.of_family(family))
    yield from (f"-p tcp --dport {port} -j {REDIRECT}" for port in capture.outbound)
    if capture.ranges.every:
        yield f"-j {REDIRECT}"
    yield from (f"-d {block} -j {REDIRECT}" for block in capture.ranges.of_family(family))


def _servers(capture: Capture, family: Family) -> Iterable[str]:
    return ("",) if capture.dns_servers.every else tuple(str(block) for block in capture.dns_servers.of_family(family))


def _dns(capture: Capture, family: Family) -> Iterator[IptablesRule]:
    """Yield what takes DNS over UDP.

    What the application asks and what the proxy asks for it are in zones of their own of connection tracking: both can have the same ports.
    What is excluded of TCP, a port or an interface, is excluded here too.
    """
    if not capture.dns or DNS_PORT in capture.outbound_excluded:
        return
    yield from (IptablesRule("raw", "OUTPUT", spec) for spec in _excluded_interfaces(capture, "-o"))
    yield from (IptablesRule("raw", "PREROUTING", spec) for spec in _excluded_interfaces(capture, "-i"))
    yield IptablesRule("nat", "OUTPUT", f"-j {OUTPUT_DNS}")
    yield IptablesRule("raw", "OUTPUT", f"-j {OUTPUT_DNS}")
    yield IptablesRule("raw", "PREROUTING", f"-j {INBOUND}")
    for owner in _owners(capture):
        yield IptablesRule("nat", OUTPUT_DNS, f"-p udp --dport {DNS_PORT} -m owner {owner} -j RETURN")
        yield IptablesRule("raw", OUTPUT_DNS, f"-p udp --dport {DNS_PORT} -m owner {owner} -j CT --zone 1")
        yield IptablesRule("raw", OUTPUT_DNS, f"-p udp --sport {capture.dns_port} -m owner {owner} -j CT --zone 2")
    for block in _servers(capture, family):
        to, of = (f" -d {block}", f" -s {block}") if block else ("", "")
        yield IptablesRule("nat", OUTPUT_DNS, f"-p udp{to} --dport {DNS_PORT} -j REDIRECT --to-ports {capture.dns_port}")
        yield IptablesRule("raw", OUTPUT_DNS, f"-p udp{to} --dport {DNS_PORT} -j CT --zone 2")
        yield IptablesRule("raw", INBOUND, f"-p udp{of} --sport {DNS_PORT} -j CT --zone 1")
