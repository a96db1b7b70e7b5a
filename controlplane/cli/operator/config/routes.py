"""Route tables as a table: a row for each route of each virtual host, be it in the table itself or come by VHDS."""

from __future__ import annotations

import re
from collections.abc import Iterator

from controlplane.cli.operator.config.listeners import inline_tables
from controlplane.cli.operator.config.proxy_config import ProxyResources
from controlplane.cli.operator.config.rows import ConfigRow, RowFacts, cluster_facts, metadata_objects
from controlplane.untyped import Json, items, number, section, text

COLUMNS = ("NAME", "VHOST NAME", "DOMAINS", "MATCH", "DESTINATION", "VIRTUAL SERVICE")
_MOST_DOMAINS = 2
_PATHS = {"prefix": "{}*", "path": "{}", "pathSeparatedPrefix": "{}[/*]", "connectMatcher": "CONNECT"}


def route_rows(config: ProxyResources) -> Iterator[ConfigRow]:
    """Yield the rows of the route tables in ``config``."""
    tables = {name: list(items(table, "virtualHosts")) for name, table in inline_tables(config)} | dict(config.route_tables())
    for name, hosts in sorted(tables.items()):
        for host in hosts:
            for route in items(host, "routes"):
                yield _row(name, host, route)


def _row(table: str, host: Json, route: Json) -> ConfigRow:
    host_name = text(host, "name").removeprefix(f"{table}/")
    objects = tuple(metadata_objects(route))
    leads_to = route_destination(route)
    domains = host.get("domains")
    domain_list = [str(each) for each in domains] if isinstance(domains, list) else []
    to = cluster_facts(leads_to) if leads_to.count("|") == 3 else RowFacts()
    return ConfigRow(
        resource=table,
        cells={
            "NAME": table,
            "VHOST NAME": host_name,
            "DOMAINS": _listed(domain_list),
            "MATCH": route_match(section(route, "match")),
            "DESTINATION": leads_to,
            "VIRTUAL SERVICE": ", ".join(each.partition("/")[2] for each in objects),
        },
        facts=RowFacts(table, table_port(table), to.fqdn, to.subset, to.direction),
        objects=objects,
    )


def table_port(name: str) -> int | None:
    """Return the port that the name of a route table says: 80, shop:80, http.8080.one, inbound|80||, …."""
    found = re.search(r"(?:^|[|:.])(\d{1,5})(?=$|[|._-])", name)
    return int(found[1]) if found else None


def route_match(match: Json) -> str:
    """Return which requests ``match`` is for: the path, and what else it asks for."""
    path = next((form.format(match[name]) for name, form in _PATHS.items() if name in match), "")
    if not path:
        path = f"~{text(section(match, 'safeRegex'), 'regex')}" if "safeRegex" in match else "/*"
    more = [
        *(_header(each) for each in items(match, "headers")),
        *(f"?{text(each, 'name')}" for each in items(match, "queryParameters")),
    ]
    return f"{path} {' '.join(more)}".strip()


def route_destination(route: Json) -> str:
    """Return what becomes of the requests of ``route``."""
    action = section(route, "route")
    if weighted := items(section(action, "weightedClusters"), "clusters"):
        return ", ".join(f"{text(each, 'name')} ({number(each, 'weight')})" for each in weighted)
    if action:
        return text(action, "cluster") or f"cluster in header {text(action, 'clusterHeader')}"
    if "directResponse" in route:
        return f"direct response {number(section(route, 'directResponse'), 'status')}"
    if "redirect" in route:
        redirect = section(route, "redirect")
        return f"redirect {text(redirect, 'hostRedirect')}{text(redirect, 'pathRedirect') or text(redirect, 'prefixRewrite')}".strip()
    return "nothing"


def _header(header: Json) -> str:
    name, matched = text(header, "name"), section(header, "stringMatch")
    inverted = "!" if header.get("invertMatch") is True else ""
    for kind, form in (("exact", "{}={}"), ("prefix", "{}={}*"), ("suffix", "{}=*{}"), ("contains", "{}=*{}*")):
        if kind in matched:
            return inverted + form.format(name, matched[kind])
    return f"{inverted}{name}~{text(section(matched, 'safeRegex'), 'regex')}" if matched else f"{inverted}{name}"


def _listed(names: list[str]) -> str:
    more = f" + {len(names) - _MOST_DOMAINS} more..." if len(names) > _MOST_DOMAINS else ""
    return ", ".join(names[:_MOST_DOMAINS]) + more
