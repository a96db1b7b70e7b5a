"""Rules of iptables, set in a network namespace and proved by traffic, in 68 combinations of settings."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from typer.testing import CliRunner

from controlplane.cli.main import app
from controlplane.iptables import applier, programs
from tests.support import interception
from tests.support import network_namespaces as namespaces
from tests.support.interception import APPLICATION, GROUP, PROXY, ROOT, Call, InterceptionBed

_V4 = (interception.POD, interception.NEAR, interception.FAR, "127.0.0.1", "127.0.0.6")
_V6 = (interception.POD_V6, interception.NEAR_V6, interception.FAR_V6, "::1", "::6")


def _calls(addresses: tuple[str, str, str, str, str], prefix: str) -> dict[str, Call]:
    pod, near, far, loopback, passthrough = addresses
    found = {f"in {port}": Call(pod, port, from_pod=False) for port in (80, 9090, 3306, 15008, 15090)}
    found |= {f"near {port}": Call(near, port) for port in (80, 443, 3306)}
    found |= {f"far {port}": Call(far, port) for port in (80, 443)}
    found |= {
        "root": Call(near, 80, ROOT),
        "proxy": Call(near, 80, PROXY),
        "group": Call(near, 80, GROUP),
        "self": Call(pod, 80),
        "loopback": Call(loopback, 80),
        "proxy to self": Call(pod, 80, PROXY),
        "proxy to 15090": Call(pod, 15090, PROXY),
        "proxy to loopback": Call(loopback, 80, PROXY),
        "passed on": Call(pod, 80, PROXY, passthrough),
        "dns by udp": Call(near, 53, APPLICATION, "", "udp"),
        "dns by tcp": Call(near, 53),
        "dns of proxy": Call(near, 53, PROXY, "", "udp"),
    }
    return {f"{prefix}{name}": call for name, call in found.items()}


CALLS = (
    _calls(_V4, "")
    | _calls(_V6, "v6 ")
    | {
        "in by eth1": Call(interception.POD_ETH1, 80, from_pod=False),
        "out by eth1": Call(interception.ETH1, 80),
        "guest": Call(interception.GUEST, 80, from_pod=False),
    }
)
_NOT_TAKEN = {name: call.port for name, call in CALLS.items() if name != "guest"}
_INBOUND = dict.fromkeys(("in 80", "in 9090", "in 3306"), 15006)
_OUTBOUND = dict.fromkeys(("near 80", "near 443", "near 3306", "far 80", "far 443", "root", "dns by tcp"), 15001)
_NEAR = {"near 80": 80, "near 443": 443, "near 3306": 3306, "root": 80, "dns by tcp": 53}
_FAR = {"far 80": 80, "far 443": 443}
_BLOCK, _HOST = "10.99.0.0/16,fd99::/16", "10.99.0.1,fd99::1"


@dataclass(frozen=True, slots=True)
class Case:
    """Options, and what becomes of which call other than by default; of TPROXY, what then differs from REDIRECT."""

    options: tuple[str, ...] = ()
    other: dict[str, int] = field(default_factory=dict)
    once: dict[str, int] = field(default_factory=dict)  # not of IPv6
    of_tproxy: dict[str, int] = field(default_factory=dict)


CASES = {
    "everything": Case(),
    "two inbound ports": Case(("-b", "80,9090"), {"in 3306": 3306}),
    "no inbound": Case(("-b", ""), {"in 80": 80, "in 9090": 9090, "in 3306": 3306}, {"in by eth1": 80}, {"proxy to self": 80}),
    "inbound but 80": Case(("-d", "80,15090"), {"in 80": 80}, {"in by eth1": 80}, {"proxy to self": 80}),
    "outbound to a block": Case(("-i", _BLOCK), _NEAR, {"out by eth1": 80}),
    "no outbound": Case(("-i", ""), _NEAR | _FAR, {"out by eth1": 80}),
    "outbound but a block": Case(("-x", _BLOCK), _FAR),
    "outbound but two ports": Case(("-o", "3306,443"), {"near 3306": 3306, "near 443": 443, "far 443": 443}),
    "one outbound port": Case(("-i", "", "-q", "443"), _NEAR | _FAR | {"near 443": 15001, "far 443": 15001}, {"out by eth1": 80}),
    "a block but a host, and a port": Case(
        ("-i", _BLOCK, "-x", _HOST, "-q", "3306"), _NEAR | _FAR | {"near 3306": 15001}, {"out by eth1": 80}
    ),
    "dns": Case(("--capture-all-dns",), {"dns by udp": 15053, "dns by tcp": 15053}),
    "but an interface": Case(("-c", "eth1"), {}, {"in by eth1": 80, "out by eth1": 80}),
    "an interface of guests": Case(("-k", "eth1"), {}, {"in by eth1": 15001, "guest": 15001}),
    "another user": Case(("-u", "1000", "-g", "1000"), {"proxy": 15001, "proxy to self": 80, "proxy to 15090": 15090}),
    "no IPv6": Case(("--ipv6", "off")),
    "invalid packets dropped": Case(("--drop-invalid",)),
    "other ports": Case(
        ("-p", "16001", "-z", "16006", "-e", "9090", "-d", ""),
        dict.fromkeys(_OUTBOUND, 16001)
        | {"in 80": 16006, "in 3306": 16006, "in 9090": 9090, "in 15008": 16006, "in 15090": 16006}
        | {"proxy to self": 16006, "proxy to 15090": 16006},
        {"in by eth1": 16006, "out by eth1": 16001},
    ),
}


def expected(case: Case, mode: str) -> dict[str, int]:
    """Return which port has to answer each call."""
    plain = _INBOUND | _OUTBOUND | {"proxy to self": 15006, "proxy to 15090": 15006} | case.other
    if mode == "TPROXY":
        plain |= {"proxy to 15090": plain.get("in 15090", 15090)} | case.of_tproxy
    v6 = {f"v6 {name}": port for name, port in plain.items() if case.options != ("--ipv6", "off")}
    found = _NOT_TAKEN | plain | v6 | {"in by eth1": 15006, "out by eth1": 15001} | case.once
    if not v6:
        del found["v6 passed on"]  # there is no ::6 then
    return found


@pytest.fixture(scope="module", params=["nft", "legacy"])
def bed(request: pytest.FixtureRequest) -> Iterator[InterceptionBed]:
    namespaces.needed()
    with interception.bed(request.param) as found:
        yield found


@pytest.mark.parametrize("mode", ["REDIRECT", "TPROXY"])
@pytest.mark.parametrize("name", CASES)
def test_rules_take_what_they_should_twice_and_go_without_a_trace(bed: InterceptionBed, name: str, mode: str) -> None:
    case = CASES[name]
    before = bed.state()
    options = ("-m", mode, *case.options)
    wanted = expected(case, mode)

    applied = bed.navarch(*options)
    once = bed.state()
    again = bed.navarch(*options)
    twice = bed.state()
    checked = bed.navarch(*options, "--check")
    ports = [16001, 16006] if name == "other ports" else [15001, 15006, 15053]
    with bed.proxy(ports, transparent=ports[1] if mode == "TPROXY" else None):
        answers = bed.calls({call: CALLS[call] for call in wanted})
    cleaned = bed.navarch(*options, "--clean-up")

    assert applied[0] == again[0] == cleaned[0] == 0, (applied, again, cleaned)
    assert twice == once != before
    assert {call: answer.get("port", answer) for call, answer in answers.items()} == wanted
    meant = {call: answer["meant"] for call, answer in answers.items() if "meant" in answer}
    assert meant == {call: [CALLS[call].host, CALLS[call].port] for call in meant}
    assert checked[0] == 0, checked[1]
    assert "WRONG" not in checked[1]
    assert bed.state() == before


def _shell(bed: InterceptionBed, line: str, **environment: str) -> tuple[int, str]:
    """Return how ``line`` of shell ends in the pod, and what it says."""
    given = " ".join(f"{name}={value}" for name, value in environment.items())
    said = str(bed.pod.ask("shell", f"{given} {line} 2>&1; echo $?"))
    *lines, status = said.splitlines()
    return int(status), "\n".join(lines)


_NAVARCH = f"{sys.executable} -m controlplane.cli.main iptables"


@pytest.mark.parametrize("program", ["ip6tables-{kind}-restore", "ip"])
def test_where_a_part_cannot_be_set_nothing_is_and_the_old_rules_hold(bed: InterceptionBed, tmp_path: Path, program: str) -> None:
    assert bed.navarch("-b", "80")[0] == 0
    before = bed.state()
    broken = tmp_path / program.format(kind=bed.kind)
    real = shutil.which(broken.name)
    broken.write_text(f'#!/bin/sh\ncase "$*" in *noflush*|"-6 rule add"*) echo no such luck >&2; exit 3;; esac\nexec {real} "$@"\n')
    broken.chmod(0o755)

    status, said = _shell(bed, f"{_NAVARCH} -m TPROXY", PATH=f"{tmp_path}:$PATH")

    assert (status, "no such luck" in said, "Traceback" in said) == (1, True, False)
    assert bed.state() == before
    assert bed.navarch("--clean-up")[0] == 0


def test_other_settings_replace_the_old_and_rules_of_others_keep_their_places(bed: InterceptionBed) -> None:
    untouched = bed.state()
    bed.navarch("-b", "80", "--capture-all-dns", "--drop-invalid")
    ours = f"iptables-{bed.kind}"
    bed.pod.ask("shell", f"{ours} -t nat -I PREROUTING -p tcp --dport 1 -j RETURN; {ours} -t nat -A PREROUTING -p tcp --dport 2 -j RETURN")

    bed.navarch()
    found = bed.state()
    bed.navarch("-b", "443", "-x", "10.0.0.0/8")
    bed.navarch()
    again = bed.state()
    bed.navarch("--clean-up")
    bed.pod.ask("shell", f"{ours} -t nat -D PREROUTING -p tcp --dport 1 -j RETURN; {ours} -t nat -D PREROUTING -p tcp --dport 2 -j RETURN")

    order = [line.rpartition(" -A ")[2].split()[-1] for line in found if line.startswith("iptables nat PREROUTING")]
    assert order == ["RETURN", "OTHERS", "ISTIO_INBOUND", "RETURN"]
    assert not any("TPROXY" in line or "DNS" in line or "DROP" in line or ("lookup" in line and "133" in line) for line in found)
    assert again == found
    assert bed.state() == untouched


def test_the_checker_is_not_fooled(bed: InterceptionBed) -> None:
    check = ("--check", "--probe-timeout", "0.5")
    nothing = bed.navarch(*check)
    bed.navarch("-b", "80", "-p", "16001")

    others = bed.navarch(*check)
    right = bed.navarch("-b", "80", "-p", "16001", "--check")
    with bed.proxy([15001], transparent=None):
        taken = bed.navarch("--check")
    bed.navarch("--clean-up")

    assert nothing[0] == others[0] == taken[0] == 1
    assert "WRONG     the application to 192.0.2.1:15999: went by" in nothing[1]
    assert "WRONG     the application to 192.0.2.1:15999: went by" in others[1]
    assert "WRONG     IPv4 from outside: there is no rule" in others[1]
    assert right[0] == 0, right[1]
    assert taken[1] == "navarch: cannot listen on port 15001 as the proxy would: Address already in use; is a proxy running here?\n"


@pytest.mark.parametrize(("uid", "proved"), [(1337, "the proxy to 10.77.0.2"), (4711, "the application to 192.0.2.1")])
def test_without_rights_the_checker_proves_what_its_user_can(bed: InterceptionBed, uid: int, proved: str) -> None:
    as_user = f"setpriv --reuid {uid} --regid {uid} --clear-groups {_NAVARCH} --check --probe-timeout 0.5"
    without = _shell(bed, as_user)
    bed.navarch()

    status, said = _shell(bed, as_user)
    bed.navarch("--clean-up")

    assert without[0] == 1, without
    assert status == 0, said
    assert any(line.startswith(f"holds     {proved}") and "came to port" in line for line in said.splitlines())
    assert "not tried IPv4 from outside: needs root" in said


def test_who_may_not_or_has_no_iptables_is_told_so(bed: InterceptionBed, monkeypatch: pytest.MonkeyPatch) -> None:
    status, said = _shell(bed, f"setpriv --reuid 4711 --regid 4711 --clear-groups {_NAVARCH}")

    assert status == 1
    assert "needs root, or the capabilities NET_ADMIN and NET_RAW" in said
    monkeypatch.setattr(programs, "_SYSTEM", ())
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(programs.CannotIntercept, match="iptables is not installed here"):
        applier.clean_up()


def test_mistakes_in_options_end_with_the_option_and_what_was_expected() -> None:
    runner = CliRunner()

    number = runner.invoke(app, ["iptables", "-b", "80,x"])
    both = runner.invoke(app, ["iptables", "--check", "--dry-run"])

    assert (number.exit_code, number.output) == (2, "navarch: -b: expected a number from 1 to 65535, found 'x'\n")
    assert both.exit_code == 2
    assert both.output.endswith("Error: Invalid value for --dry-run and --check: only one of them can be done at a time\n")


def test_a_dry_run_prints_what_would_be_done_and_needs_nothing() -> None:
    done = CliRunner().invoke(app, ["iptables", "--dry-run", "--ipv6", "on", "-m", "TPROXY"])

    assert done.exit_code == 0
    assert done.output.startswith("iptables-restore --noflush <<EOF\n*nat\n:ISTIO_REDIRECT - [0:0]\n")
    assert "ip6tables-restore --noflush <<EOF\n" in done.output
    assert done.output.endswith("ip -6 route add local default dev lo table 133 proto 133\n")
