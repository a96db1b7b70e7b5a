"""What services claim of connections, and what the claims at one address make together."""

from __future__ import annotations

from controlplane.ir.listeners import (
    EVERY_CONNECTION,
    ChainMatch,
    HttpRouting,
    OutboundChain,
    ProtocolDetection,
    TcpForwarding,
    unclaimed,
)
from controlplane.mesh.routing.connection_routes import masked
from controlplane.mesh.sidecar.connection_claims import ANYWHERE, Claim, at_block, merge, with_fallthrough


def _to(cluster: str) -> TcpForwarding:
    return TcpForwarding(clusters=((cluster, 0),))


def _chain(cluster: str, *, names: tuple[str, ...] = (), blocks: tuple[str, ...] = ()) -> OutboundChain:
    return OutboundChain(ChainMatch(server_names=names, subnets=blocks), _to(cluster))


def test_the_older_claim_to_the_same_block_wins_and_the_newer_keeps_its_others() -> None:
    merged = merge([
        Claim(ANYWHERE, (_chain("old", blocks=("10.0.0.0/8",)),)),
        Claim(ANYWHERE, (_chain("new", blocks=("10.0.0.0/8", "11.0.0.0/8")),)),
    ])  # fmt: skip
    assert merged.chains == (_chain("old", blocks=("10.0.0.0/8",)), _chain("new", blocks=("11.0.0.0/8",)))
    assert merged.rest is None


def test_a_chain_for_every_connection_is_the_rest() -> None:
    merged = merge([Claim("10.1.0.1", (_chain("weighted"),), _to("own"))])
    assert (merged.chains, merged.rest) == ((), _to("weighted"))


def test_several_tls_services_at_one_address_are_told_apart_by_name_and_the_first_has_the_rest() -> None:
    merged = merge([Claim("10.1.0.1", rest=_to("a"), server_name="a.example"), Claim("10.1.0.1", rest=_to("b"), server_name="b.example")])
    assert merged.chains == (_chain("a", names=("a.example",)), _chain("b", names=("b.example",)))
    assert merged.rest == _to("a")
    alone = merge([Claim("10.1.0.1", rest=_to("a"), server_name="a.example")])
    assert (alone.chains, alone.rest) == ((), _to("a"))


def test_http_and_whole_connections_of_one_port_stand_side_by_side() -> None:
    merged = merge([Claim(ANYWHERE, rest=HttpRouting("80")), Claim(ANYWHERE, rest=_to("tcp"))])
    assert (merged.http, merged.rest) == (HttpRouting("80"), _to("tcp"))


def test_a_claim_to_an_address_becomes_a_chain_among_others() -> None:
    claim = at_block(Claim("10.1.0.1", (_chain("v2", blocks=("10.9.0.0/16",)),), _to("own"), "a.example"))
    assert claim.bind == ANYWHERE
    assert claim.chains == (_chain("v2", blocks=("10.9.0.0/16",)), _chain("own", names=("a.example",), blocks=("10.1.0.1/32",)))


def test_a_block_that_is_told_by_names_alone_repeats_what_is_around_it() -> None:
    """Envoy never goes back from a narrower block to a wider one."""
    wide, general = _chain("wide", blocks=("10.0.0.0/8",)), _chain("general", names=("g.example",))
    narrow = _chain("narrow", names=("n.example",), blocks=("10.1.0.0/16",))
    added = with_fallthrough((narrow, wide, general), _to("rest"))[3:]
    assert added == (_chain("wide", blocks=("10.1.0.0/16",)), _chain("general", names=("g.example",), blocks=("10.1.0.0/16",)))


def test_http_is_detected_in_a_block_that_is_told_by_names_alone() -> None:
    detection = ProtocolDetection(HttpRouting("443"), _to("rest"))
    narrow = _chain("narrow", names=("n.example",), blocks=("10.1.0.0/16",))
    assert with_fallthrough((narrow,), detection)[1:] == (OutboundChain(ChainMatch(subnets=("10.1.0.0/16",)), detection),)
    assert with_fallthrough((narrow,), _to("rest")) == (narrow,)


def test_no_two_matches_are_for_the_same() -> None:
    claimed: set[tuple[str, str]] = set()
    first = ChainMatch(server_names=("a.example", "b.example"), subnets=("10.0.0.0/8",))
    assert list(unclaimed(first, claimed)) == [first]
    left = list(unclaimed(ChainMatch(server_names=("b.example", "c.example"), subnets=("10.0.0.0/8", "11.0.0.0/8")), claimed))
    assert left == [
        ChainMatch(server_names=("b.example",), subnets=("11.0.0.0/8",)),
        ChainMatch(server_names=("c.example",), subnets=("10.0.0.0/8", "11.0.0.0/8")),
    ]
    assert list(unclaimed(EVERY_CONNECTION, claimed)) == [EVERY_CONNECTION]
    assert list(unclaimed(ChainMatch(server_names=("*",)), claimed)) == []


def test_blocks_are_compared_by_the_addresses_in_them() -> None:
    assert [masked(block) for block in ("10.1.2.3/8", "10.1.2.3", "fd00::1/64")] == ["10.0.0.0/8", "10.1.2.3/32", "fd00::/64"]
