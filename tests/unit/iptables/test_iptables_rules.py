"""The rules that settings come to, and how what stands is changed to them."""

from __future__ import annotations

import pytest

from controlplane.iptables.restore_format import normalized_rules, restore_input
from controlplane.iptables.rules import iptables_rules
from controlplane.iptables.settings import (
    BadIptablesOption,
    Capture,
    Family,
    InterceptionMode,
    blocks,
    ids,
    interfaces,
    nameservers,
    ports,
    ranges,
)

_DEFAULT = """
nat ISTIO_REDIRECT -p tcp -j REDIRECT --to-ports 15001
nat ISTIO_IN_REDIRECT -p tcp -j REDIRECT --to-ports 15006
nat PREROUTING -p tcp -j ISTIO_INBOUND
nat ISTIO_INBOUND -p tcp --dport 15008 -j RETURN
nat ISTIO_INBOUND -p tcp --dport 15090 -j RETURN
nat ISTIO_INBOUND -p tcp --dport 15021 -j RETURN
nat ISTIO_INBOUND -p tcp --dport 15020 -j RETURN
nat ISTIO_INBOUND -p tcp -j ISTIO_IN_REDIRECT
nat OUTPUT -j ISTIO_OUTPUT
nat ISTIO_OUTPUT -o lo -s 127.0.0.6/32 -j RETURN
nat ISTIO_OUTPUT -o lo ! -d 127.0.0.1/32 -p tcp ! --dport 15008 -m owner --uid-owner 1337 -j ISTIO_IN_REDIRECT
nat ISTIO_OUTPUT -o lo -m owner ! --uid-owner 1337 -j RETURN
nat ISTIO_OUTPUT -m owner --uid-owner 1337 -j RETURN
nat ISTIO_OUTPUT -o lo ! -d 127.0.0.1/32 -p tcp ! --dport 15008 -m owner --gid-owner 1337 -j ISTIO_IN_REDIRECT
nat ISTIO_OUTPUT -o lo -m owner ! --gid-owner 1337 -j RETURN
nat ISTIO_OUTPUT -m owner --gid-owner 1337 -j RETURN
nat ISTIO_OUTPUT -d 127.0.0.1/32 -j RETURN
nat ISTIO_OUTPUT -j ISTIO_REDIRECT
"""
_TPROXY = """
mangle ISTIO_DIVERT -j MARK --set-mark 1337
mangle ISTIO_DIVERT -j ACCEPT
mangle ISTIO_TPROXY ! -d ::1/128 -p tcp -j TPROXY --tproxy-mark 0x539/0xffffffff --on-port 15006
mangle OUTPUT -o lo -p tcp -m mark --mark 1337 -m comment --comment navarch -j RETURN
mangle OUTPUT ! -d ::1/128 -o lo -p tcp -m owner --uid-owner 1337 -m comment --comment navarch -j MARK --set-mark 1338
mangle OUTPUT ! -d ::1/128 -o lo -p tcp -m owner --gid-owner 1337 -m comment --comment navarch -j MARK --set-mark 1338
mangle OUTPUT -p tcp -m connmark --mark 1337 -m comment --comment navarch -j CONNMARK --restore-mark
mangle PREROUTING -p tcp -j ISTIO_INBOUND
mangle ISTIO_INBOUND -p tcp -m mark --mark 1337 -j RETURN
mangle ISTIO_INBOUND -s ::6/128 -i lo -p tcp -j RETURN
mangle ISTIO_INBOUND -i lo -p tcp -m mark ! --mark 1338 -j RETURN
mangle ISTIO_INBOUND -p tcp --dport 15008 -j RETURN
mangle ISTIO_INBOUND -p tcp -m conntrack --ctstate RELATED,ESTABLISHED -j ISTIO_DIVERT
mangle ISTIO_INBOUND -p tcp -j ISTIO_TPROXY
mangle PREROUTING -p tcp -m mark --mark 1337 -m comment --comment navarch -j CONNMARK --save-mark
"""


def _lines(wanted: Capture, family: Family) -> list[str]:
    return [" ".join(rule) for rule in iptables_rules(wanted, family)]


def test_chains_and_their_order_are_those_of_istio() -> None:
    wanted = Capture(inbound_excluded=(15090, 15021, 15020))

    assert _lines(wanted, Family.V4) == _DEFAULT.strip().splitlines()


def test_tproxy_marks_packets_and_leaves_their_addresses() -> None:
    found = _lines(Capture(mode=InterceptionMode.TPROXY), Family.V6)

    assert [line for line in found if line.startswith("mangle")] == _TPROXY.strip().splitlines()
    assert not any("uid-owner 1337 -j ISTIO_IN_REDIRECT" in line for line in found)


def test_blocks_are_of_the_family_whose_rules_they_are_in() -> None:
    wanted = Capture(ranges=ranges("10.0.0.0/8,fd00::/8", "-i"))

    found = {family: [line for line in _lines(wanted, family) if "-j ISTIO_REDIRECT" in line] for family in Family}

    assert found == {
        Family.V4: ["nat ISTIO_OUTPUT -d 10.0.0.0/8 -j ISTIO_REDIRECT"],
        Family.V6: ["nat ISTIO_OUTPUT -d fd00::/8 -j ISTIO_REDIRECT"],
    }


@pytest.mark.parametrize(
    ("read", "text", "complaint"),
    [
        (ports, "80,http", "-o: expected a number from 1 to 65535, found 'http'"),
        (ports, "0", "-o: expected a number from 1 to 65535, found '0'"),
        (ports, "65536", "-o: expected a number from 1 to 65535, found '65536'"),
        (ports, "٨٠", "-o: expected a number from 1 to 65535, found '٨٠'"),
        (ports, "*,80", "-o: expected a number from 1 to 65535, found '*'"),
        (ids, "root", "-o: expected a number from 0 to 4294967294, found 'root'"),
        (ranges, "10.0.0.0/33", "-o: expected a block of addresses such as 10.0.0.0/8, found '10.0.0.0/33'"),
        (blocks, "*", "-o: expected a block of addresses such as 10.0.0.0/8, found '*'"),
        (blocks, "fe80::%x -j ACCEPT/64", "-o: expected a block of addresses such as 10.0.0.0/8, found 'fe80::%x -j ACCEPT/64'"),
        (ports, "9" * 5000, f"-o: expected a number from 1 to 65535, found '{'9' * 80}'"),
        (interfaces, "eth0 -j ACCEPT", "-o: 'eth0 -j ACCEPT' is no interface's name; expected at most 15 letters, digits and any of _.@:-"),
    ],
)
def test_what_cannot_be_is_refused_with_option_and_value(read: object, text: str, complaint: str) -> None:
    assert callable(read)

    with pytest.raises(BadIptablesOption) as refused:
        read(text, "-o")

    assert str(refused.value) == complaint


def test_lists_may_have_spaces_and_say_things_twice() -> None:
    assert ports(" 80, 443 ,,80", "-b").numbers == (80, 443)
    assert [str(block) for block in blocks("10.0.0.1/8, 10.0.0.0/8", "-i")] == ["10.0.0.0/8"]


def test_the_nameservers_of_resolv_conf_are_those_it_names() -> None:
    found = nameservers(
        "search a.example\nnameserver 10.96.0.10\n# nameserver 1.1.1.1\nnameserver fe80::1%eth0\nnameserver\nnameserver dns.example\n"
    )

    assert [str(block) for block in found.blocks] == ["10.96.0.10/32", "fe80::1/128"]


_STANDING = """# Generated
*nat
:PREROUTING ACCEPT [3:180]
:OUTPUT ACCEPT [0:0]
:ISTIO_INBOUND - [0:0]
:ISTIO_OLD - [0:0]
:OTHERS - [0:0]
[0:0] -A PREROUTING -j OTHERS
[7:420] -A PREROUTING -p tcp -j ISTIO_INBOUND
[0:0] -A PREROUTING -i eth1 -m comment --comment navarch -j RETURN
[0:0] -A PREROUTING -m comment --comment "not navarch" -j RETURN
[0:0] -A ISTIO_INBOUND -p tcp -j ISTIO_OLD
COMMIT
"""


def test_new_rules_take_the_places_of_old_ones_and_those_of_others_stay() -> None:
    wanted = iptables_rules(Capture(), Family.V4)

    lines = restore_input(_STANDING, wanted).splitlines()

    assert lines[0] == "*nat"
    assert ":ISTIO_INBOUND - [0:0]" in lines
    assert [line for line in lines if line.startswith(("-D", "-F", "-X"))] == [
        "-D PREROUTING 3",
        "-D PREROUTING 2",
        "-F ISTIO_OLD",
        "-X ISTIO_OLD",
    ]
    assert "-I PREROUTING 2 -p tcp -j ISTIO_INBOUND" in lines
    assert "-A OUTPUT -j ISTIO_OUTPUT" in lines


def test_where_nothing_is_ours_there_is_nothing_to_take_away() -> None:
    assert restore_input(_STANDING, ()) != ""
    assert restore_input("*nat\n:PREROUTING ACCEPT [0:0]\n-A PREROUTING -j OTHERS\nCOMMIT\n", ()) == ""


def test_the_meaning_of_rules_is_not_in_counters_or_empty_chains() -> None:
    assert normalized_rules("*nat\n:INPUT ACCEPT [1:2]\nCOMMIT\n") == ()
    assert normalized_rules("*nat\n:OUTPUT ACCEPT [1:2]\n[1:60] -A OUTPUT -j RETURN\nCOMMIT\n") == ("nat OUTPUT -j RETURN",)
    assert normalized_rules("*filter\n:INPUT DROP [1:2]\nCOMMIT\n") == ("filter INPUT DROP",)


def test_what_is_excluded_of_tcp_is_excluded_of_dns_over_udp() -> None:
    by_port = _lines(Capture(dns=True, outbound_excluded=(53,)), Family.V4)
    by_interface = _lines(Capture(dns=True, interfaces_excluded=("net1",)), Family.V4)

    assert not any("udp" in line for line in by_port)
    for line in ("raw OUTPUT -o net1", "raw PREROUTING -i net1", "nat OUTPUT -o net1", "nat PREROUTING -i net1"):
        assert f"{line} -m comment --comment navarch -j RETURN" in by_interface
    assert by_interface.index("raw OUTPUT -o net1 -m comment --comment navarch -j RETURN") < by_interface.index(
        "raw OUTPUT -j ISTIO_OUTPUT_DNS"
    )
