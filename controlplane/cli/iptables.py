"""``navarch iptables``."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from controlplane.errors import NavarchError
from controlplane.iptables.settings import (
    BadIptablesOption,
    Capture,
    Family,
    InterceptionMode,
    Ranges,
    blocks,
    ids,
    interfaces,
    nameservers,
    port_numbers,
    ports,
    ranges,
)
from controlplane.model.proxies import TPROXY_MARK

_RESOLV_CONF = Path("/etc/resolv.conf")
_RESULTS = {True: "holds", False: "WRONG", None: "not tried"}


class Ipv6Rules(StrEnum):
    """Whether there are rules for IPv6."""

    AUTO = "auto"
    ON = "on"
    OFF = "off"


class IptablesAction(StrEnum):
    """What is done with the rules, and the option that asks for it."""

    APPLY = ""
    SHOW = "--dry-run"
    CLEAN_UP = "--clean-up"
    CHECK = "--check"


_P: TypeAlias = Annotated[int, typer.Option("-p", "--envoy-port", metavar="PORT", min=1, max=65535, help="Where outbound goes.")]
_Z: TypeAlias = Annotated[int, typer.Option("-z", "--inbound-capture-port", metavar="PORT", min=1, max=65535, help="Where inbound goes.")]
_E: TypeAlias = Annotated[
    int, typer.Option("-e", "--inbound-tunnel-port", metavar="PORT", min=1, max=65535, help="HBONE's port: not taken.")
]
_U: TypeAlias = Annotated[str, typer.Option("-u", "--proxy-uid", metavar="UIDS", help="Whose connections are the proxy's.")]
_G: TypeAlias = Annotated[str, typer.Option("-g", "--proxy-gid", metavar="GIDS", help="The same, by group.")]
_M: TypeAlias = Annotated[InterceptionMode, typer.Option("-m", "--istio-inbound-interception-mode", help="How inbound is taken.")]
_T: TypeAlias = Annotated[int, typer.Option("-t", "--istio-inbound-tproxy-mark", metavar="MARK", min=1, max=2**31, help="TPROXY's mark.")]
_R: TypeAlias = Annotated[
    int, typer.Option("-r", "--istio-inbound-tproxy-route-table", metavar="TABLE", min=1, max=2**31, help="TPROXY's route table.")
]
_B: TypeAlias = Annotated[str, typer.Option("-b", "--istio-inbound-ports", metavar="PORTS", help="Inbound ports to take; * is all.")]
_D: TypeAlias = Annotated[str, typer.Option("-d", "--istio-local-exclude-ports", metavar="PORTS", help="Inbound ports to leave.")]
_O: TypeAlias = Annotated[str, typer.Option("-o", "--istio-local-outbound-ports-exclude", metavar="PORTS", help="Outbound ports to leave.")]
_Q: TypeAlias = Annotated[str, typer.Option("-q", "--istio-outbound-ports", metavar="PORTS", help="Outbound ports to take anywhere.")]
_I: TypeAlias = Annotated[str, typer.Option("-i", "--istio-service-cidr", metavar="BLOCKS", help="Outbound addresses to take; * is all.")]
_X: TypeAlias = Annotated[str, typer.Option("-x", "--istio-service-exclude-cidr", metavar="BLOCKS", help="Outbound addresses to leave.")]
_K: TypeAlias = Annotated[str, typer.Option("-k", "--kube-virt-interfaces", metavar="NAMES", help="What comes in by these is outbound.")]
_C: TypeAlias = Annotated[str, typer.Option("-c", "--istio-exclude-interfaces", metavar="NAMES", help="Interfaces to leave.")]
_V6: TypeAlias = Annotated[Ipv6Rules, typer.Option("--ipv6", help="Rules for IPv6. auto: where an interface has an address of it.")]
_Dns: TypeAlias = Annotated[bool, typer.Option("--redirect-dns", help="Take DNS for /etc/resolv.conf's servers to port 15053.")]
_AllDns: TypeAlias = Annotated[bool, typer.Option("--capture-all-dns", help="Take all DNS there.")]
_Drop: TypeAlias = Annotated[bool, typer.Option("--drop-invalid", help="Drop packets that belong to no connection.")]
_DryRun: TypeAlias = Annotated[bool, typer.Option("-n", "--dry-run", help="Print what would be done, and do nothing.")]
_CleanUp: TypeAlias = Annotated[bool, typer.Option("--clean-up", help="Take the rules away, all others stay.")]
_Check: TypeAlias = Annotated[bool, typer.Option("--check", "--run-validation", help="Set nothing: prove that traffic is caught.")]
_Within: TypeAlias = Annotated[float, typer.Option("--probe-timeout", metavar="SECONDS", min=0.1, max=300, help="How long --check waits.")]


def iptables(
    outbound_port: _P = 15001,
    inbound_port: _Z = 15006,
    tunnel_port: _E = 15008,
    proxy_uid: _U = "1337",
    proxy_gid: _G = "1337",
    mode: _M = InterceptionMode.REDIRECT,
    mark: _T = TPROXY_MARK,
    table: _R = 133,
    inbound: _B = "*",
    inbound_exclude: _D = "15090,15021,15020",
    outbound_exclude: _O = "",
    outbound: _Q = "",
    cidr: _I = "*",
    cidr_exclude: _X = "",
    virtual_interfaces: _K = "",
    exclude_interfaces: _C = "",
    ipv6: _V6 = Ipv6Rules.AUTO,
    redirect_dns: _Dns = False,
    capture_all_dns: _AllDns = False,
    drop_invalid: _Drop = False,
    dry_run: _DryRun = False,
    clean_up: _CleanUp = False,
    check: _Check = False,
    probe_timeout: _Within = 5.0,
) -> None:
    """Have this network namespace's connections go through its proxy, by rules of iptables. Options are as those of istio-init.

    All the rules are set, or none; to do it again changes nothing. That needs root, or NET_ADMIN and NET_RAW.

    For example:

      navarch iptables -b '*' -d 15090,15021,15020 -i '*' -x 10.1.0.0/16 --dry-run
    """
    options = {IptablesAction.SHOW: dry_run, IptablesAction.CLEAN_UP: clean_up, IptablesAction.CHECK: check}
    chosen = [action for action, is_chosen in options.items() if is_chosen] or [IptablesAction.APPLY]
    if len(chosen) > 1:
        raise typer.BadParameter("only one of them can be done at a time", param_hint=" and ".join(chosen))
    try:
        wanted = Capture(
            mode=mode,
            outbound_port=outbound_port,
            inbound_port=inbound_port,
            tunnel_port=tunnel_port,
            mark=mark,
            table=table,
            uids=ids(proxy_uid, "-u"),
            gids=ids(proxy_gid, "-g"),
            inbound=ports(inbound, "-b"),
            inbound_excluded=port_numbers(inbound_exclude, "-d"),
            outbound=port_numbers(outbound, "-q"),
            outbound_excluded=port_numbers(outbound_exclude, "-o"),
            ranges=ranges(cidr, "-i"),
            ranges_excluded=Ranges(blocks(cidr_exclude, "-x")),
            interfaces_outbound=interfaces(virtual_interfaces, "-k"),
            interfaces_excluded=interfaces(exclude_interfaces, "-c"),
            dns=redirect_dns or capture_all_dns,
            dns_servers=_servers(everything=capture_all_dns or not redirect_dns),
            drop_invalid=drop_invalid,
        )
    except BadIptablesOption as error:
        typer.echo(f"navarch: {error}", err=True)
        raise typer.Exit(2) from None
    _perform(chosen[0], wanted, ipv6, probe_timeout)


def _servers(*, everything: bool) -> Ranges:
    return Ranges(every=True) if everything else nameservers(_RESOLV_CONF.read_text(encoding="utf-8"))


def _perform(action: IptablesAction, wanted: Capture, ipv6: Ipv6Rules, within_s: float) -> None:
    from controlplane.iptables import applier

    families = applier.families(v6={Ipv6Rules.AUTO: None, Ipv6Rules.ON: True, Ipv6Rules.OFF: False}[ipv6])
    try:
        match action:
            case IptablesAction.SHOW:
                typer.echo(applier.dry_run(wanted, families), nl=False)
            case IptablesAction.CLEAN_UP:
                applier.clean_up()
            case IptablesAction.APPLY:
                applier.apply(wanted, families)
                typer.echo(
                    f"set for {' and '.join(families)}: {wanted.mode}, outbound to {wanted.outbound_port}, inbound to {wanted.inbound_port}"
                )
            case IptablesAction.CHECK:
                _check(wanted, families, within_s)
    except NavarchError as error:
        typer.echo(f"navarch: {error}", err=True)
        raise typer.Exit(1) from None


def _check(wanted: Capture, families: tuple[Family, ...], within_s: float) -> None:
    from controlplane.iptables.checker import check_capture, is_proved

    findings = check_capture(wanted, families, within_s)
    for finding in findings:
        typer.echo(f"{_RESULTS[finding.holds]:<9} {finding.subject}: {finding.detail}")
    if not is_proved(findings, wanted):
        typer.echo("navarch: it is not proved that traffic is taken as it should be", err=True)
        raise typer.Exit(1)
