"""T45: which addresses users can make the control plane ask at, whatever they are called."""

from __future__ import annotations

import socket
from ipaddress import ip_address

import pytest

from controlplane.model.ip_addresses import Reach, parse_address, reach
from controlplane.sources.fetched.client import is_own_address
from controlplane.sources.fetched.url_policy import Forbidden, UrlPolicy, parse_allowed


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("8.8.8.8", Reach.PUBLIC),
        ("2606:4700::1111", Reach.PUBLIC),
        ("64:ff9b::808:808", Reach.PUBLIC),  # NAT64 of 8.8.8.8
        ("0.0.0.0", Reach.NOWHERE),
        ("0.1.2.3", Reach.NOWHERE),
        ("::", Reach.NOWHERE),
        ("224.0.0.1", Reach.NOWHERE),
        ("ff02::1", Reach.NOWHERE),
        ("255.255.255.255", Reach.NOWHERE),
        ("240.0.0.1", Reach.NOWHERE),
        ("127.0.0.1", Reach.LOOPBACK),
        ("127.255.0.9", Reach.LOOPBACK),
        ("::1", Reach.LOOPBACK),
        ("::ffff:127.0.0.1", Reach.LOOPBACK),
        ("::127.0.0.1", Reach.LOOPBACK),
        ("::ffff:0:127.0.0.1", Reach.LOOPBACK),
        ("64:ff9b::7f00:1", Reach.LOOPBACK),
        ("2002:7f00:1::", Reach.LOOPBACK),
        ("169.254.169.254", Reach.LINK_LOCAL),
        ("::ffff:169.254.169.254", Reach.LINK_LOCAL),
        ("64:ff9b::a9fe:a9fe", Reach.LINK_LOCAL),
        ("fe80::1%eth0", Reach.LINK_LOCAL),
        ("fd00:ec2::254", Reach.METADATA),
        ("100.100.100.200", Reach.METADATA),
        ("168.63.129.16", Reach.METADATA),
        ("192.0.0.192", Reach.METADATA),
        ("10.1.2.3", Reach.PRIVATE),
        ("172.16.0.1", Reach.PRIVATE),
        ("192.168.0.1", Reach.PRIVATE),
        ("100.64.0.1", Reach.PRIVATE),
        ("198.18.0.1", Reach.PRIVATE),
        ("fc00::1", Reach.PRIVATE),
        ("fec0::1", Reach.PRIVATE),
        ("64:ff9b:1::1", Reach.PRIVATE),
        ("2001::1", Reach.PRIVATE),  # Teredo
        ("::ffff:10.0.0.1", Reach.PRIVATE),
    ],
)
def test_t45_an_address_is_what_it_leads_to_whatever_it_is_wrapped_in(text: str, kind: Reach) -> None:
    address = parse_address(text)

    assert address is not None
    assert reach(address) is kind


@pytest.mark.parametrize(
    ("allow", "address", "good"),
    [
        ((), "8.8.8.8", True),
        ((), "10.0.0.1", False),
        (("10.0.0.0/8",), "10.0.0.1", True),
        (("keys.example",), "10.0.0.1", True),
        (("*.example",), "10.0.0.1", True),
        (("other.example",), "10.0.0.1", False),
        (("http://10.0.0.0/8",), "10.0.0.1", True),
        (("keys.example", "0.0.0.0/0"), "127.0.0.1", False),
        (("127.0.0.0/8",), "127.0.0.1", True),
        (("keys.example", "0.0.0.0/0", "::/0"), "169.254.169.254", False),
        (("169.254.0.0/16",), "169.254.169.254", True),
        (("0.0.0.0/0", "100.64.0.0/10"), "100.100.100.200", False),
        (("100.100.100.200",), "100.100.100.200", True),
        (("0.0.0.0/0", "0.0.0.0"), "0.0.0.0", False),
        (("10.0.0.0/8",), "10.9.9.9", False),  # the machine's own
        (("10.9.9.9",), "10.9.9.9", True),
    ],
)
def test_t45_what_the_operator_allows_opens_no_more_than_it_says(allow: tuple[str, ...], address: str, *, good: bool) -> None:
    guard = UrlPolicy(map(parse_allowed, allow), lambda each: each == ip_address("10.9.9.9"))

    try:
        guard.check(UrlPolicy((), is_own_address).target("https://keys.example/"), address)
    except Forbidden:
        passed = False
    else:
        passed = True

    assert passed is good


@pytest.mark.parametrize("text", ["", "*", "http://", "10.0.0.0/99", "a b", "https://keys.example", "10.0.0.1/8"])
def test_what_the_operator_allows_has_to_be_a_block_or_a_host(text: str) -> None:
    with pytest.raises(ValueError, match=r"expected|does not appear|has host bits"):
        parse_allowed(text)


def test_the_machine_knows_its_own_addresses() -> None:
    assert is_own_address(ip_address("127.0.0.1"))
    assert not is_own_address(ip_address("192.0.2.1"))


def test_t45_the_address_by_which_the_machine_is_known_is_its_own_too() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            pytest.skip("did not run: this machine has no way out, and so no address of its own")
        known_as = probe.getsockname()[0]
    guard = UrlPolicy([parse_allowed("0.0.0.0/0")], is_own_address)

    with pytest.raises(Forbidden, match="the control plane itself"):
        guard.check(guard.target("https://keys.example/"), known_as)


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://evil.example#@keys.example/", "evil.example"),
        ("https://evil.example?@keys.example/", "evil.example"),
        ("https://evil.example/@keys.example/", "evil.example"),
        ("https://\uff4beys.example/", "keys.example"),  # a k by another name, which is the same host for everybody
        ("https://KEYS.example./", "keys.example"),
    ],
)
def test_t45_the_host_that_is_checked_is_the_host_that_is_asked(url: str, host: str) -> None:
    target = UrlPolicy((), is_own_address).target(url)

    assert (target.host, (target.url.raw_host or "").rstrip(".").lower()) == (host, host)


@pytest.mark.parametrize(
    "url", ["https://keys.example\\@evil.example/", "https://keys.example@evil.example/", "https://keys.example:1@evil.example/"]
)
def test_t45_a_url_with_two_hosts_is_not_asked(url: str) -> None:
    with pytest.raises(Forbidden):
        UrlPolicy((), is_own_address).target(url)
