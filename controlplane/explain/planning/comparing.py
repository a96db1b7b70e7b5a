"""From two views of a proxy to what the one means for the other: drained listeners, and traffic that goes elsewhere."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from envoy.config.listener.v3.listener_components_pb2 import FilterChain
from envoy.config.listener.v3.listener_pb2 import Listener
from envoy.config.route.v3.route_components_pb2 import VirtualHost
from envoy.config.route.v3.route_pb2 import RouteConfiguration

from controlplane.envoy.packing import expand
from controlplane.envoy.type_urls import CDS, ECDS, EDS, LDS, RATE_LIMIT_CONFIG, RDS, SDS, VHDS
from controlplane.explain.planning.plan import Drain, PlannedResource, Rerouted
from controlplane.explain.planning.samples import Place, connections_to, request_to, route_heads
from controlplane.explain.resources import authorities, resources_in
from controlplane.explain.work import Work
from controlplane.mesh.planning.planned_state import Differences
from controlplane.simulation.result import Answered, AwaitsRequests, Closed, Forwarded, Landing, Simulation
from controlplane.simulation.simulate import simulate
from controlplane.simulation.traffic import ClientConnection, Request
from controlplane.xds.view import View

KINDS: Mapping[str, str] = {
    LDS: "listener",
    RDS: "route",
    VHDS: "virtualhost",
    CDS: "cluster",
    EDS: "endpoints",
    SDS: "secret",
    ECDS: "extension",
    RATE_LIMIT_CONFIG: "ratelimits",
}
MOST_TRIED = 2000  # requests and connections of one proxy
MOST_CONTENTS = 200  # resources whose content is shown


def planned_resources(differs: Differences, *, contents: bool) -> tuple[PlannedResource, ...]:
    """Return what ``differs``, with the content of the first of them where ``contents`` are asked for."""
    found = []
    for number, ((type_url, name), (before, after)) in enumerate(sorted(differs.items(), key=lambda each: each[0])):
        change = "added" if before is None else "removed" if after is None else "changed"
        shown = contents and number < MOST_CONTENTS
        expanded = [expand(type_url, each.value) if shown and each is not None else None for each in (before, after)]
        found.append(PlannedResource(KINDS.get(type_url, type_url), name, change, *expanded))
    return tuple(found)


def drains(differs: Differences) -> Iterator[Drain]:
    """Yield the listeners among what ``differs`` whose connections an Envoy drains: where chains alone differ, those of these alone.

    https://www.envoyproxy.io/docs/envoy/latest/configuration/listeners/lds
    """
    for (type_url, name), (before, after) in sorted(differs.items(), key=lambda each: each[0]):
        if type_url != LDS or before is None:
            continue
        old, new = Listener.FromString(before.value), Listener.FromString(after.value) if after else None
        if new is None or _without_chains(old) != _without_chains(new):
            yield Drain(name)
            continue
        there = [chain.SerializeToString(deterministic=True) for chain in _chains(new)]
        gone = [chain for chain in _chains(old) if chain.SerializeToString(deterministic=True) not in there]
        if gone:
            yield Drain(name, tuple(chain.name or f"filter_chains[{index}]" for index, chain in enumerate(_chains(old)) if chain in gone))


def _chains(listener: Listener) -> list[FilterChain]:
    return [*listener.filter_chains, *([listener.default_filter_chain] if listener.HasField("default_filter_chain") else [])]


def _without_chains(listener: Listener) -> Listener:
    bare = Listener()
    bare.CopyFrom(listener)
    bare.ClearField("filter_chains")
    bare.ClearField("default_filter_chain")
    return bare


def rerouted(before: View, after: View, differs: Differences, place: Place) -> Work[tuple[tuple[Rerouted, ...], int]]:
    """Return what would go elsewhere of the traffic that comes to ``place``, and how much was tried."""
    samples: dict[str, ClientConnection | Request] = {}
    for traffic in _samples(differs, place):
        if len(samples) == MOST_TRIED:
            break
        samples.setdefault(_in_words(traffic), traffic)
        yield
    names = frozenset(name for each in samples.values() if isinstance(each, Request) for name in authorities(each.authority))
    old = yield from resources_in(before, names)
    new = yield from resources_in(after, names)
    found: list[Rerouted] = []
    for words, traffic in samples.items():
        was = tuple(_ends(simulate(traffic, old)))
        yield
        would_be = tuple(_ends(simulate(traffic, new)))
        if was != would_be:
            found.append(Rerouted(words, was, would_be))
        yield
    return tuple(found), len(samples)


def _samples(differs: Differences, place: Place) -> Iterator[ClientConnection | Request]:
    for table, hosts in _differing_hosts(differs):
        for head in route_heads(hosts):
            yield request_to(head, _port(table), place)
    for (type_url, _), pair in sorted(differs.items(), key=lambda each: each[0]):
        for resource in pair if type_url == LDS else ():
            if resource is not None:
                yield from connections_to(Listener.FromString(resource.value), place)


def _differing_hosts(differs: Differences) -> Iterator[tuple[str, list[VirtualHost]]]:
    """Yield of each route table that differs, or a virtual host of it, the hosts of both sides that the other has not."""
    for (type_url, name), pair in sorted(differs.items(), key=lambda each: each[0]):
        if type_url == VHDS:
            yield name.rpartition("/")[0], [VirtualHost.FromString(each.value) for each in pair if each is not None]
        elif type_url == RDS:
            old, new = ([] if each is None else list(RouteConfiguration.FromString(each.value).virtual_hosts) for each in pair)
            yield name, [host for side, other in ((old, new), (new, old)) for host in side if host not in other]


def _port(table: str) -> int:
    digits = table.rpartition(".")[2] if table.startswith(("http.", "https.")) else table.rpartition(":")[2] if ":" in table else table
    return int(digits) if digits.isdecimal() and 0 < int(digits) < 65536 else 80


def _in_words(traffic: ClientConnection | Request) -> str:
    if isinstance(traffic, Request):
        shown = [f"{name}: {value}" for name, value in traffic.headers]
        headers = f" with {', '.join(shown)}" if shown else ""
        return f"{traffic.method} http://{traffic.authority}{traffic.path} at port {traffic.connection.destination.port}{headers}"
    name = getattr(traffic.first_bytes, "server_name", "")
    return f"tcp {traffic.destination}{f' with the server name {name}' if name else ''}"


def _ends(simulation: Simulation) -> Iterator[str]:
    shares: dict[str, float] = {}
    for outcome in simulation.outcomes:
        end = _end(outcome.landing)
        shares[end] = shares.get(end, 0.0) + float(outcome.share)
    for end, share in sorted(shares.items()):
        yield end if share >= 1 else f"{share * 100:.4g} % {end}"


def _end(landing: Landing) -> str:
    match landing:
        case Forwarded(cluster):
            return cluster
        case Answered(status, cluster):
            return f"answer {status}" + (f" for {cluster}" if cluster else "")
        case Closed(cluster):
            return f"closed{f' for {cluster}' if cluster else ''}"
        case AwaitsRequests(table):
            return f"requests by {table}"
        case _:
            return "nothing yet"
