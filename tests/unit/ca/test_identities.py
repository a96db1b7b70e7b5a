"""IdentityServer are what they look like, or they are none."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from controlplane.model.identity import BadIdentity, Identity, parse_identity

TABLES = Path(__file__).parents[4] / "shared" / "cases" / "unit-tables" / "spiffe.json"
GOOD = "spiffe://cluster.local/ns/shop/sa/cart"


def test_an_identity_is_written_and_read_alike() -> None:
    assert parse_identity(GOOD) == Identity("cluster.local", "shop", "cart")
    assert parse_identity(GOOD).uri == GOOD


@pytest.mark.parametrize(
    "text",
    [
        "",
        "spiffe://",
        "spiffe:///ns/a/sa/b",
        "SPIFFE://cluster.local/ns/a/sa/b",
        "http://cluster.local/ns/a/sa/b",
        "spiffe://Cluster.local/ns/a/sa/b",
        "spiffe://cluster.local:8080/ns/a/sa/b",
        "spiffe://user@cluster.local/ns/a/sa/b",
        "spiffe://cluster.local/ns/a/sa/b/",
        "spiffe://cluster.local/ns/a/sa",
        "spiffe://cluster.local/ns//sa/b",
        "spiffe://cluster.local/ns/a/sa/..",
        "spiffe://cluster.local/ns/./sa/b",
        "spiffe://cluster.local/ns/a%2fb/sa/c",
        "spiffe://cluster.local/ns/a/sa/b?x=y",
        "spiffe://cluster.local/ns/a/sa/b#x",
        "spiffe://cluster.local/ns/a/sa/b\x00",
        "spiffe://cluster.local/ns/a/sa/b\n",
        "spiffe://cluster.local/ns/ä/sa/b",
        "spiffe://cluster.local/ns/a,b/sa/c",
        "spiffe://cluster.local/sa/a/ns/b",
        f"spiffe://cluster.local/ns/a/sa/{'b' * 2048}",
    ],
)
def test_t4_a_text_that_could_be_taken_for_something_else_is_no_identity(text: str) -> None:
    with pytest.raises(BadIdentity) as refused:
        parse_identity(text)
    assert len(text) < 10 or text not in str(refused.value)


@pytest.mark.parametrize("part", ["a/b", "a,b", "", ".", "..", "a b", "a\n", "a/../b"])
def test_t5_no_part_says_more_than_a_part(part: str) -> None:
    for trust_domain, namespace, account in ((part, "a", "b"), ("td", part, "b"), ("td", "a", part)):
        if (trust_domain, part) in ((".", "."), ("..", "..")):
            continue  # a trust domain is a name of DNS: dots alone stand for no other place in it
        with pytest.raises(BadIdentity):
            Identity(trust_domain, namespace, account)


def test_t5_identities_are_the_same_when_every_part_is() -> None:
    assert Identity("td", "a", "b") != Identity("tdx", "a", "b")
    assert Identity("td.evil", "a", "b").uri.startswith("spiffe://td.evil/")
    assert not Identity("td.evil", "a", "b").uri.startswith("spiffe://td/")


def test_istios_own_table_of_uris() -> None:
    if not TABLES.exists():
        pytest.skip(f"not run: {TABLES.name} is not here")
    cases = json.loads(TABLES.read_text())["TestGenSpiffeURI"]
    print(f"{len(cases)} cases")
    for case in cases:
        trust_domain = case["trustDomain"].replace("@", ".")  # an address of mail is no trust domain
        assert Identity(trust_domain, case["namespace"], case["serviceAccount"]).uri == case["expectedURI"]
