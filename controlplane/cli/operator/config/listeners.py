"""Listeners as a table: a row for each of their filter chains, with what it takes and where that goes."""

from __future__ import annotations

from collections.abc import Iterator

from controlplane.cli.operator.config.proxy_config import ProxyResources
from controlplane.cli.operator.config.rows import ConfigRow, RowFacts, filters_of, metadata_objects, socket_address
from controlplane.untyped import Json, items, section, text

COLUMNS = ("ADDRESSES", "PORT", "MATCH", "DESTINATION")
_HCM = "HttpConnectionManager"
_TCP = "TcpProxy"


def listener_rows(config: ProxyResources) -> Iterator[ConfigRow]:
    """Yield the rows of the listeners in ``config``."""
    for name, resource in sorted(config.of("listeners").items()):
        listener = resource.message
        host, port = socket_address(section(listener, "address"))
        direction = text(listener, "trafficDirection").lower() or None
        default = section(listener, "defaultFilterChain")
        chains = [(match_in_words(chain), chain) for chain in items(listener, "filterChains")]
        if default:
            chains.append(("ALL" if not chains else "else", default))
        for match, chain in chains:
            yield ConfigRow(
                resource=name,
                cells={"ADDRESSES": host, "PORT": "" if port is None else str(port), "MATCH": match, "DESTINATION": destination(chain)},
                facts=RowFacts(name, port, direction=direction),
                objects=tuple(metadata_objects(listener)),
            )


def match_in_words(chain: Json) -> str:
    """Return which connections ``chain`` is for, in istioctl's words."""
    match = section(chain, "filterChainMatch")
    words = []
    if names := _texts(match, "serverNames"):
        words.append(f"SNI: {','.join(names)}")
    if transport := text(match, "transportProtocol"):
        words.append(f"Trans: {transport}")
    if protocols := _texts(match, "applicationProtocols"):
        words.append(f"App: {','.join(protocols)}")
    if ranges := [f"{text(each, 'addressPrefix')}/{_number(each, 'prefixLen')}" for each in items(match, "prefixRanges")]:
        words.append(f"Addr: {','.join(ranges)}")
    if sources := [f"{text(each, 'addressPrefix')}/{_number(each, 'prefixLen')}" for each in items(match, "sourcePrefixRanges")]:
        words.append(f"From: {','.join(sources)}")
    if port := match.get("destinationPort"):
        words.append(f"Port: {port}")
    return "; ".join(words) or "ALL"


def destination(chain: Json) -> str:
    """Return where what ``chain`` takes goes: a route table, a cluster, or nowhere."""
    for used in filters_of(chain):
        match text(used, "@type").rpartition(".")[2]:
            case kind if kind == _HCM:
                table = text(section(used, "rds"), "routeConfigName")
                inline = section(used, "routeConfig")
                return f"Route: {table}" if table else f"Inline Route: {text(inline, 'name') or _clusters(inline)}"
            case kind if kind == _TCP:
                weighted = items(section(used, "weightedClusters"), "clusters")
                shares = [f"{text(each, 'name')} ({_number(each, 'weight')})" for each in weighted]
                return f"Cluster: {', '.join(shares) or text(used, 'cluster')}"
            case _:
                pass
    return "Non-HTTP/Non-TCP"


def inline_tables(config: ProxyResources) -> Iterator[tuple[str, Json]]:
    """Yield the route tables that stand in the listeners of ``config`` themselves, by name."""
    for resource in config.of("listeners").values():
        for chain in (*items(resource.message, "filterChains"), section(resource.message, "defaultFilterChain")):
            for used in filters_of(chain):
                if table := section(used, "routeConfig"):
                    yield text(table, "name"), table


def _clusters(table: Json) -> str:
    routes = [route for host in items(table, "virtualHosts") for route in items(host, "routes")]
    return ", ".join(dict.fromkeys(text(section(route, "route"), "cluster") for route in routes))


def _texts(data: Json, name: str) -> list[str]:
    values = data.get(name)
    return [each for each in values if isinstance(each, str)] if isinstance(values, list) else []


def _number(data: Json, name: str) -> int:
    value = data.get(name)
    return value if isinstance(value, int) else 0
