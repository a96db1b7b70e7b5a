"""What each port of a service claims of a workload's connections, and the listeners that these claims make together.

Services claim connections by the address that they go to; where they have none, by the server name that TLS clients call, or by the
port alone. What nobody claims goes where the policy for unknown destinations says.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from ipaddress import ip_network
from typing import NamedTuple

from controlplane.incremental.database import Database, query
from controlplane.ir.listeners import (
    ChainMatch,
    Handling,
    HttpRouting,
    OutboundChain,
    ProtocolDetection,
    TcpForwarding,
    unclaimed,
)
from controlplane.mesh.destinations.destination_rules import rule_client
from controlplane.mesh.destinations.traffic_policies import tcp_limits
from controlplane.mesh.registry.endpoints import endpoints
from controlplane.mesh.registry.services import ServiceRef, service
from controlplane.mesh.routing.connection_routes import ConnectionClient, masked, sidecar_connection_rules
from controlplane.model.cluster_names import OUTBOUND, cluster_name
from controlplane.model.hosts import ANY
from controlplane.model.protocols import Protocol
from controlplane.model.services import Service

ANYWHERE = ""


class Claim(NamedTuple):
    """What a service claims of the connections to ``bind``, an address of its own or ``ANYWHERE``.

    ``rest`` is for those that fit none of ``chains``; ``None``: they are not claimed. ``server_name``: TLS clients tell this service from
    others at the same address.
    """

    bind: str
    chains: tuple[OutboundChain, ...] = ()
    rest: Handling | None = None
    server_name: str = ""


@query
def connection_claims(db: Database, ref: ServiceRef, number: int, protocol: Protocol, client: ConnectionClient) -> tuple[Claim, ...]:
    """Return what port ``number`` of ``ref`` claims where it carries ``protocol``, for proxies of ``client``."""
    mesh_service = service(db, ref)
    if mesh_service is None or protocol is Protocol.UDP:
        return ()
    if protocol.is_http:
        return (Claim(ANYWHERE, rest=HttpRouting(str(number), by_address=mesh_service.by_address)),)
    tls = protocol.is_tls
    rules = sidecar_connection_rules(db, ref.host, number, client, tls)
    ruled = tuple(OutboundChain(rule.match, rule.forwarding) for rule in rules)
    limits = tcp_limits(db, ref, rule_client(db, ref, client.namespace, client.labels), number, "")
    own = TcpForwarding(clusters=((cluster_name(OUTBOUND, number, "", ref.host), 0),), limits=limits)
    if mesh_service.by_address:
        requests = HttpRouting(str(number), by_address=True)
        addresses = dict.fromkeys(endpoint.address for endpoint in endpoints(db, ref, number))
        rests = {address: None if tls and ruled else _handling(replace(own, endpoint=address), requests, protocol) for address in addresses}
        by_name = [Claim(ANYWHERE, rest=requests)] if protocol is Protocol.UNSUPPORTED else []
        return (*(Claim(address, ruled, rest) for address, rest in rests.items()), *by_name)
    rest = None if tls and ruled else _handling(own, HttpRouting(f"{ref.host}:{number}"), protocol)
    at_address = [
        Claim(address, ruled, rest, "" if ruled or not tls else ref.host) for address in mesh_service.addresses if "/" not in address
    ]
    return (*at_address, *_claims_anywhere(mesh_service, number, protocol, ruled, own))


def _claims_anywhere(
    mesh_service: Service, number: int, protocol: Protocol, ruled: tuple[OutboundChain, ...], own: TcpForwarding
) -> Iterator[Claim]:
    """Yield what a service claims by its blocks of addresses, or where it has no address at all."""
    blocks = tuple(masked(address) for address in mesh_service.addresses if "/" in address)
    if mesh_service.addresses and not blocks:
        return
    tls = protocol.is_tls
    names = (mesh_service.host,) if tls else ()
    if not blocks and protocol is Protocol.UNSUPPORTED:
        yield Claim(ANYWHERE, rest=HttpRouting(str(number)))
    elif mesh_service.other_name and not tls:
        # Where its connections go nobody says: they are told from others by the blocks that routes name, or by nothing.
        if narrow := tuple(chain for chain in ruled if chain.match.subnets):
            yield Claim(ANYWHERE, narrow)
    elif tls and ruled:
        yield Claim(ANYWHERE, tuple(_within(chain, blocks) for chain in ruled))
    elif blocks or (names and ANY not in names):
        chains = (*ruled, OutboundChain(ChainMatch(server_names=names), own))
        yield Claim(ANYWHERE, tuple(_within(chain, blocks) for chain in chains))
    else:
        yield Claim(ANYWHERE, ruled, own)


def _within(chain: OutboundChain, blocks: tuple[str, ...]) -> OutboundChain:
    """Return ``chain`` for connections to ``blocks``, unless it is for some others."""
    return chain if chain.match.subnets else OutboundChain(replace(chain.match, subnets=blocks), chain.handling)


def _handling(forwarding: TcpForwarding, routing: HttpRouting, protocol: Protocol) -> Handling:
    return ProtocolDetection(routing, forwarding) if protocol is Protocol.UNSUPPORTED else forwarding


def at_block(claim: Claim) -> Claim:
    """Return ``claim``, for the connections to an address, as one for connections to that among others."""
    if claim.bind == ANYWHERE:
        return claim
    blocks = (masked(claim.bind),)
    names = (claim.server_name,) if claim.server_name else ()
    rest = (OutboundChain(ChainMatch(server_names=names), claim.rest),) if claim.rest else ()
    return Claim(ANYWHERE, tuple(_within(chain, blocks) for chain in (*claim.chains, *rest)))


def anywhere(claim: Claim) -> Claim:
    """Return ``claim`` for connections of which nothing says where they were going."""
    rest = replace(claim.rest, endpoint="") if isinstance(claim.rest, TcpForwarding) else claim.rest
    return claim._replace(bind=ANYWHERE, rest=rest)


class MergedClaims(NamedTuple):
    """What the claims at one address make together; ``rest`` is ``None`` where they leave something unclaimed."""

    chains: tuple[OutboundChain, ...]
    rest: Handling | None
    http: HttpRouting | None


def merge(claims: Sequence[Claim]) -> MergedClaims:
    """Return what ``claims``, all to the same place, make together. Of two that claim the same, the first has it."""
    chains = [chain for claim in claims for chain in claim.chains]
    if len(claims) > 1:  # one address, several hosts: TLS clients say which
        named = [(ChainMatch(server_names=(claim.server_name,)), claim.rest) for claim in claims if claim.server_name]
        chains += [OutboundChain(match, handling) for match, handling in named if handling and ANY not in match.server_names]
    routings = [claim.rest for claim in claims if isinstance(claim.rest, HttpRouting)]
    http = HttpRouting(routings[0].route, by_address=any(routing.by_address for routing in routings)) if routings else None
    rest = next((claim.rest for claim in claims if claim.rest and not isinstance(claim.rest, HttpRouting)), None)
    claimed: set[tuple[str, str]] = set()
    distinct = tuple(OutboundChain(match, chain.handling) for chain in chains for match in unclaimed(chain.match, claimed))
    unconditional = next((chain for chain in distinct if not chain.match.server_names and not chain.match.subnets), None)
    return MergedClaims(
        chains=tuple(chain for chain in distinct if chain is not unconditional),
        rest=unconditional.handling if unconditional else rest,
        http=http,
    )


def with_fallthrough(chains: Iterable[OutboundChain], default: Handling) -> tuple[OutboundChain, ...]:
    """Return ``chains``, with those of wider blocks repeated in a narrower one that does not take everything.

    Envoy looks at the narrowest block that a connection goes to, and never at the wider ones around it.
    """
    original = tuple(chains)
    by_block: dict[str, dict[str, OutboundChain]] = {}
    for chain in original:
        for block in chain.match.subnets or (ANY,):
            by_block.setdefault(block, {}).update(dict.fromkeys(chain.match.server_names or (ANY,), chain))
    added: list[OutboundChain] = []
    for block, own in by_block.items():
        if block == ANY or ANY in own:
            continue
        named = dict(own)
        for outer in _around(block, by_block):
            missing = {name: chain for name, chain in by_block[outer].items() if name not in named}
            named |= missing
            for name, chain in missing.items():
                match = ChainMatch(server_names=() if name == ANY else (name,), subnets=(block,))
                added.append(OutboundChain(match, chain.handling))
        if ANY not in named and isinstance(default, ProtocolDetection):
            added.append(OutboundChain(ChainMatch(subnets=(block,)), default))
    return (*original, *added)


def _around(block: str, blocks: Iterable[str]) -> list[str]:
    """Return those of ``blocks`` that have ``block`` in them, the narrowest first, and what is for every address last."""
    network = ip_network(block)
    wider = [
        (ip_network(other).prefixlen, other)
        for other in blocks
        if other not in (ANY, block) and (outer := ip_network(other)).version == network.version and outer.supernet_of(network)  # type: ignore[arg-type]
    ]
    narrowest_first = [other for _, other in sorted(wider, reverse=True)]
    return [*narrowest_first, *(other for other in blocks if other == ANY)]
