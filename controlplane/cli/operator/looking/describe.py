"""``navarch describe``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, TypedDict

import typer

from controlplane.cli.operator.client import AdminClient, part
from controlplane.cli.operator.config.clusters import endpoint_rows
from controlplane.cli.operator.config.proxy_config import ProxyResources, sent_config
from controlplane.cli.operator.config.routes import route_rows
from controlplane.cli.operator.connection import AdminTarget, Namespace, asks_admin
from controlplane.cli.operator.failures import CommandFailed
from controlplane.cli.operator.names import short_name
from controlplane.cli.operator.output import Form, Listing, OutputOption, show
from controlplane.cli.operator.problems import place
from controlplane.cli.operator.proxies.sync import proxy_sync, sync_problems
from controlplane.untyped import Json, items, section, text

_POLICIES = ("AuthorizationPolicy", "PeerAuthentication", "RequestAuthentication", "RateLimit", "Sidecar", "EnvoyFilter", "Telemetry")
_ROUTING = ("VirtualService", "DestinationRule", "Gateway", "ServiceEntry", "Service")
_What = Annotated[str, typer.Argument(metavar="KIND/NAME | pod | service", help="An object, as VirtualService/shop/reviews; or what kind.")]
_Name = Annotated[str | None, typer.Argument(metavar="[NAME]", help="The pod's or the service's name, as reviews.shop.")]


class Described(TypedDict):
    """What holds for one thing: facts in words, each under what it is about."""

    subject: str
    facts: list[DescribedFact]


class DescribedFact(TypedDict):
    """One fact, and where it stands, if it is written somewhere."""

    about: str
    says: str
    where: str


@asks_admin
def describe(target: AdminTarget, what: _What, name: _Name = None, namespace: Namespace = None, output: OutputOption = Form.TABLE) -> None:
    """Say what holds for an object, a pod or a service: routes, policies, mTLS, endpoints, and what is wrong with it.

    For example:

      navarch describe VirtualService/shop/reviews

      navarch describe pod web-1.shop

      navarch describe service reviews.shop
    """
    match what.lower(), name:
        case (("pod" | "po"), str()):
            client, proxy_id = target.proxy(name, namespace)
            found = Described(subject=short_name(proxy_id), facts=list(_of_proxy(client, proxy_id)))
        case (("service" | "svc"), str()):
            host = service_host(name, namespace)
            found = Described(subject=host, facts=list(_of_service(target, host)))
        case _, None if "/" in what:
            found = Described(subject=what, facts=list(_of_object(target.client, what, namespace)))
        case _:
            raise CommandFailed("expected KIND/NAME, pod NAME, or service NAME")
    rows = [(fact["about"], fact["says"], fact["where"]) for fact in found["facts"]]
    show(output, found, Listing(head=("ABOUT", found["subject"], "WHERE"), rows=rows))


def service_host(name: str, namespace: str | None) -> str:
    """Return the host of the service ``name``: reviews, reviews.shop, or the whole of it."""
    pieces = name.split(".")
    if len(pieces) > 2:
        return name
    return f"{pieces[0]}.{pieces[1] if len(pieces) == 2 else namespace or 'default'}.svc.cluster.local"


def mtls_mode(listener: Json, port: int) -> str:
    """Return how the chains of ``listener`` for ``port`` take connections: as PeerAuthentication calls it."""
    chains = [
        chain
        for chain in items(listener, "filterChains")
        if section(chain, "filterChainMatch").get("destinationPort", port) == port and chain.get("name") != "virtualInbound-blackhole"
    ]
    tls = {bool(section(chain, "transportSocket")) for chain in chains}
    return {frozenset((True,)): "STRICT", frozenset((True, False)): "PERMISSIVE"}.get(frozenset(tls), "DISABLE")


def _of_proxy(client: AdminClient, proxy_id: str) -> Iterator[DescribedFact]:
    row = client.get(f"/v1/proxies/{part(proxy_id)}")
    sync = proxy_sync(row, client.name)
    yield _fact("proxy", f"{sync['type']}, Envoy {sync['envoy'] or 'of an unknown version'}, connected to {client.name}")
    yield _fact("identity", sync["identity"] or "none: it came in the clear")
    states = ", ".join(f"{each['type']} {each['state']}" for each in sync["types"])
    yield _fact("sync", states or "it has asked for nothing yet")
    for told in sync_problems(sync):
        yield _fact("sync", told)
    config = sent_config(client, proxy_id, ("listeners", "clusters"))
    for name in sorted(config.of("clusters")):
        if name.startswith("inbound|") and (port := name.split("|")[1]).isdecimal():
            inbound = [each.message for each in config.of("listeners").values() if text(each.message, "trafficDirection") == "INBOUND"]
            modes = {mtls_mode(listener, int(port)) for listener in inbound if _takes(listener, int(port))}
            yield _fact("port", f"{port}: mTLS {' or '.join(sorted(modes)) or 'as its listener says'}")
    yield from _origins(client, proxy_id, ("listeners", "clusters"), _POLICIES)


def _of_service(target: AdminTarget, host: str) -> Iterator[DescribedFact]:
    short = ".".join(host.split(".")[:2])
    seen = False
    for client, row in target.proxies():
        proxy_id = text(row, "id")
        config = sent_config(client, proxy_id, ("clusters", "endpoints", "routes", "virtualhosts"))
        clusters = [name for name in config.of("clusters") if name.endswith(f"|{host}") and name.startswith("outbound|")]
        if clusters:
            seen = True
            yield _fact("seen by", f"{short_name(proxy_id)} and whoever sees the same")
            yield from _of_clusters(config, clusters)
            yield from _origins(client, proxy_id, ("clusters", "routes", "virtualhosts"), _ROUTING, host)
            break
    problems = [each for each in target.client.rows("/v1/problems") if host in text(each, "message") or f"/{short}" in text(each, "object")]
    for each in problems:
        yield _fact(
            "problem", f"{text(each, 'severity')}: {text(each, 'object')} {text(each, 'field')}: {text(each, 'message')}", place(each)
        )
    if not seen and not problems:
        raise CommandFailed(f"no proxy that is connected sees {host}")


def _of_clusters(config: ProxyResources, clusters: Sequence[str]) -> Iterator[DescribedFact]:
    endpoints = [row for row in endpoint_rows(config) if row.resource in clusters]
    for name in sorted(clusters):
        _, port, subset, _ = name.split("|")
        here = [f"{row.cells['ENDPOINT']} {row.cells['STATUS']}" for row in endpoints if row.resource == name]
        yield _fact("endpoints", f"port {port}{', subset ' + subset if subset else ''}: {', '.join(here) or 'none'}")
    for row in route_rows(config):
        if any(name in row.cells["DESTINATION"] for name in clusters):
            yield _fact("route", f"{row.cells['DOMAINS']} {row.cells['MATCH']} to {row.cells['DESTINATION']}", ", ".join(row.objects))


def _of_object(client: AdminClient, what: str, namespace: str | None) -> Iterator[DescribedFact]:
    kind, _, rest = what.partition("/")
    wanted_namespace, _, name = rest.rpartition("/")
    wanted_namespace = wanted_namespace or namespace or ""
    rows = [
        row
        for row in client.rows("/v1/objects")
        if text(row, "kind").lower() == kind.lower() and text(row, "name") == name and wanted_namespace in {"", text(row, "namespace")}
    ]
    problems = [each for each in client.rows("/v1/problems") if text(each, "object").lower() in {what.lower(), *_keys(rows)}]
    if len(rows) > 1:
        raise CommandFailed(f"{what!r} can be any of {', '.join(text(row, 'object') for row in rows)}: say which")
    if not rows and not problems:
        raise CommandFailed(f"there is no {what} in effect")
    for row in rows:
        yield _fact("object", "is in effect", place(row))
        standings = client.find("/v1/standings", name=text(row, "object"))
        for standing in items(standings, "objects") if isinstance(standings, dict) else ():
            yield _fact("proxies", f"{standing.get('have')} of {standing.get('needed')} that need it have accepted it")
        for change in client.rows("/v1/history", limit="1000"):
            if any(text(each, "object") == text(row, "object") for each in items(change, "objects")):
                yield _fact("changed", f"last by change {change.get('number')}, at {text(change, 'at')}")
                break
    for each in problems:
        yield _fact("problem", f"{text(each, 'severity')}: {text(each, 'field')}: {text(each, 'message')}", place(each))


def _keys(rows: Sequence[Json]) -> Iterator[str]:
    return (text(row, "object").lower() for row in rows)


def _origins(client: AdminClient, proxy_id: str, kinds: Sequence[str], shown: Sequence[str], host: str = "") -> Iterator[DescribedFact]:
    """Yield the objects of the kinds ``shown`` that resources of the proxy were made from, those about ``host`` where it is given."""
    there: dict[str, str] = {}
    for kind in kinds:
        found = client.find(f"/v1/proxies/{part(proxy_id)}/origins/{kind}")
        for row in found if isinstance(found, list) else ():
            if host in text(row, "name"):
                there.update((text(each, "object"), place(each)) for each in items(row, "objects"))
    for name, where in sorted(there.items()):
        if name.partition("/")[0] in shown:
            yield _fact(name.partition("/")[0], name.partition("/")[2], where)


def _takes(listener: Json, port: int) -> bool:
    own = section(section(listener, "address"), "socketAddress").get("portValue")
    chains = [section(chain, "filterChainMatch").get("destinationPort") for chain in items(listener, "filterChains")]
    return own == port or port in chains


def _fact(about: str, says: str, where: str = "") -> DescribedFact:
    return DescribedFact(about=about, says=says, where=where)
