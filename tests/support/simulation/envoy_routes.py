"""Random route tables of Envoy: every kind of domain, of match, and of action."""

from __future__ import annotations

from random import Random

from envoy.config.route.v3.route_pb2 import RouteConfiguration
from envoy.extensions.filters.http.fault.v3.fault_pb2 import HTTPFault
from google.protobuf.json_format import ParseDict

from tests.support.simulation.manifests import HEADERS, METHODS, PATHS, VALUES

Json = dict[str, object]
_CLUSTERS = ("static", "subsets", "priorities", "eds", "original", "header", "port", "empty", "dns", "no-such-cluster")
_FAULT = "type.googleapis.com/envoy.extensions.filters.http.fault.v3.HTTPFault"
_DOMAINS = (
    *("a.example", "b.a.example", "c.example", "c.example:80", "a", "A-1.example", "10.96.0.1", "10.96.0.1:443"),
    *("*.example", "*.a.example", "*-1.example", "*.b.a.example", "*example:443", "a.*", "b.a.*", "c.*", "10.96.*"),
)


def host_name(random: Random) -> str:
    """Return the name of a table that a listener has itself."""
    return f"inline-{random.randint(0, 999)}"


def route_table(random: Random, name: str) -> RouteConfiguration:
    """Return a random table; every domain stands in it once."""
    domains = [*random.sample(_DOMAINS, random.randint(2, 8)), *(["*"] if random.random() < 0.8 else [])]
    hosts: list[Json] = []
    while domains:
        own, domains = domains[:2], domains[2:]
        host: Json = {"name": f"host-{len(hosts)}", "domains": own, "routes": _routes(random)}
        if random.random() < 0.1:
            host["require_tls"] = "ALL"
        hosts.append(host)
    table: Json = {"name": name, "virtual_hosts": hosts, "ignore_port_in_host_matching": random.random() < 0.5}
    return ParseDict(table, RouteConfiguration())


def _routes(random: Random) -> list[Json]:
    """Return routes, the last of which mostly takes what no other has taken."""
    last = [_route(random, {"prefix": "/"})] if random.random() < 0.8 else []
    return [*(_route(random, _match(random)) for _ in range(random.randint(0, 4))), *last]


def _route(random: Random, match: Json) -> Json:
    route: Json = {"match": match}
    match random.choice(("cluster", "cluster", "weights", "weights", "header", "redirect", "direct")):
        case "cluster":
            route["route"] = {"cluster": random.choice(_CLUSTERS)}
        case "weights":
            weights = random.choice(((1, 3), (0, 5), (50, 50), (30, 30, 40)))
            entries = [{"name": random.choice(_CLUSTERS), "weight": each, **criteria(random)} for each in weights]
            route["route"] = {"weighted_clusters": {"clusters": entries}}
        case "header":
            route["route"] = {"cluster_header": random.choice(HEADERS)}
        case "redirect":
            route["redirect"] = {"path_redirect": "/moved", "response_code": random.choice(("FOUND", "SEE_OTHER", "PERMANENT_REDIRECT"))}
        case _:
            route["direct_response"] = {"status": random.choice((200, 418, 503))}
    action = route.get("route")
    if isinstance(action, dict):
        action |= criteria(random)
        action["cluster_not_found_response_code"] = random.choice(("SERVICE_UNAVAILABLE", "NOT_FOUND"))
    if random.random() < 0.15:
        route["typed_per_filter_config"] = {"envoy.filters.http.fault": {"@type": _FAULT, **_fault(random)}}
    return route


def criteria(random: Random) -> Json:
    """Return what is asked of endpoints, or nothing."""
    match random.randint(0, 4):
        case 0:
            wanted = {"version": random.choice(("1", "2", "3"))}
        case 1:
            wanted = {"version": random.choice(("1", "2")), "zone": random.choice(("1", "2"))}
        case 2:
            wanted = {"zone": "1"}
        case _:
            return {}
    return {"metadata_match": {"filter_metadata": {"envoy.lb": wanted}}}


def _match(random: Random) -> Json:
    match: Json = {**_path(random)}
    if random.random() < 0.3:
        match["case_sensitive"] = random.random() < 0.5
    if random.random() < 0.4:
        match["headers"] = [_header(random) for _ in range(random.randint(1, 2))]
    if random.random() < 0.15:
        match["query_parameters"] = [_parameter(random)]
    if random.random() < 0.2:
        scale, most = random.choice((("HUNDRED", 100), ("MILLION", 1_000_000)))
        share = random.choice((0, most // 3, most // 2, most))
        match["runtime_fraction"] = {"default_value": {"numerator": share, "denominator": scale}}
    if random.random() < 0.05:
        match["grpc"] = {}
    return match


def _path(random: Random) -> Json:
    path = random.choice(PATHS)
    match random.randint(0, 4):
        case 0:
            return {"path": path}
        case 1:
            return {"path_separated_prefix": path if path != "/" else "/api"}
        case 2:
            return {"safe_regex": {"regex": random.choice((f"{path}.*", "/[a-z]+", "/api/v[0-9](/.*)?", "(?i)/API.*", "/a|/api"))}}
        case _:
            return {"prefix": path}


def _header(random: Random) -> Json:
    name = random.choice((*HEADERS, *HEADERS, ":method", ":authority", "x-number"))
    value = random.choice((*VALUES[:3], *METHODS, "a.example"))
    kind = random.choice(("exact", "prefix", "suffix", "contains"))
    text: Json = {kind: value}
    regex: Json = {"safe_regex": {"regex": f"{value[:1]}.*"}}
    folded: Json = {kind: value.upper(), "ignore_case": True}
    kinds: list[Json] = [{"string_match": each} for each in (text, regex, folded)]
    kinds += [{f"{kind}_match": value}, {"safe_regex_match": {"regex": "j[a-z]*"}}, {"range_match": {"start": 1, "end": 10}}]
    kinds += [{"present_match": True}, {"present_match": False}, {}]
    return {
        "name": name,
        **random.choice(kinds),
        "invert_match": random.random() < 0.3,
        "treat_missing_header_as_empty": random.random() < 0.2,
    }


def _parameter(random: Random) -> Json:
    kinds: tuple[Json, ...] = ({"present_match": True}, {"present_match": False}, {"string_match": {"prefix": "j"}}, {})
    return {"name": "q", **random.choice(kinds)}


def fault(random: Random) -> HTTPFault:
    """Return what a filter injects where no route says otherwise: mostly nothing."""
    return ParseDict(_fault(random) if random.random() < 0.05 else {}, HTTPFault())


def _fault(random: Random) -> Json:
    share = {"numerator": random.choice((0, 40, 100)), "denominator": "HUNDRED"}
    made: Json = {"abort": {"http_status": random.choice((418, 500)), "percentage": share}}
    if random.random() < 0.2:
        made["upstream_cluster"] = "static"
    if random.random() < 0.2:
        made["headers"] = [_header(random)]
    return made
