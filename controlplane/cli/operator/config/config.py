"""``navarch config``."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import StrEnum
from typing import Annotated, NamedTuple, TypedDict

import typer

from controlplane.cli.operator.client import AdminClient, part
from controlplane.cli.operator.config.clusters import CLUSTER_COLUMNS, ENDPOINT_COLUMNS, cluster_rows, endpoint_rows
from controlplane.cli.operator.config.listeners import COLUMNS as LISTENER_COLUMNS
from controlplane.cli.operator.config.listeners import listener_rows
from controlplane.cli.operator.config.proxy_config import ProxyResources, dumped_config, sent_config
from controlplane.cli.operator.config.routes import COLUMNS as ROUTE_COLUMNS
from controlplane.cli.operator.config.routes import route_rows
from controlplane.cli.operator.config.rows import ConfigRow, Filters
from controlplane.cli.operator.config.secrets import COLUMNS as SECRET_COLUMNS
from controlplane.cli.operator.config.secrets import secret_rows
from controlplane.cli.operator.connection import AdminTarget, Namespace, asks_admin, complete_proxy
from controlplane.cli.operator.failures import CommandFailed
from controlplane.cli.operator.output import Form, Listing, OutputOption, Watch, repeat, show
from controlplane.cli.operator.problems import place
from controlplane.cli.operator.proxies.envoy_admin import envoy_admin
from controlplane.cli.options import read_text
from controlplane.untyped import Json, items, text

DUMP = "/config_dump?include_eds"
FROM = "FROM"


class ConfigKind(StrEnum):
    """What of a proxy's configuration is shown."""

    LISTENERS = "listeners"
    ROUTES = "routes"
    CLUSTERS = "clusters"
    ENDPOINTS = "endpoints"
    SECRETS = "secrets"
    ALL = "all"


class RowOrigin(TypedDict):
    """An object that a row comes from, and where it stands."""

    object: str
    file: str | None
    line: int | None


class ConfigTableRow(TypedDict):
    """One row: its cells by column, and the objects that it comes from, what says most of it first."""

    kind: str
    cells: dict[str, str]
    origins: list[RowOrigin]


class _Table(NamedTuple):
    columns: Sequence[str]
    rows: Callable[[ProxyResources], Iterator[ConfigRow]]


_TABLES: Mapping[ConfigKind, _Table] = {
    ConfigKind.LISTENERS: _Table(LISTENER_COLUMNS, listener_rows),
    ConfigKind.ROUTES: _Table(ROUTE_COLUMNS, route_rows),
    ConfigKind.CLUSTERS: _Table(CLUSTER_COLUMNS, cluster_rows),
    ConfigKind.ENDPOINTS: _Table(ENDPOINT_COLUMNS, endpoint_rows),
    ConfigKind.SECRETS: _Table(SECRET_COLUMNS, lambda config: secret_rows(config, time.time())),
}
Origins = Mapping[tuple[str, str], list[RowOrigin]]  # by kind and name of a resource
_Proxy = Annotated[
    str | None,
    typer.Argument(metavar="[PROXY]", help="Its pod, as client.default, or its node id.", autocompletion=complete_proxy),
]
_Kind = Annotated[ConfigKind, typer.Argument(help="What is shown.")]
_File = Annotated[
    str | None, typer.Option("--file", metavar="PATH", help="Show what is in this file: the /config_dump of any Envoy, with include_eds.")
]
_Envoy = Annotated[
    str | None,
    typer.Option("--envoy", metavar="HOST:PORT", help="Show what the Envoy with this admin address holds."),
]


@asks_admin
def config(
    target: AdminTarget,
    proxy: _Proxy = None,
    kind: _Kind = ConfigKind.ALL,
    file: _File = None,
    envoy: _Envoy = None,
    port: Annotated[int | None, typer.Option(help="Of this port: a listener's, a service's, an endpoint's.")] = None,
    fqdn: Annotated[str | None, typer.Option(metavar="HOST", help="Of this service, as web.shop.svc.cluster.local.")] = None,
    subset: Annotated[str | None, typer.Option(metavar="NAME", help="Of this subset.")] = None,
    direction: Annotated[str | None, typer.Option(metavar="inbound|outbound", help="Of this direction.")] = None,
    name: Annotated[str | None, typer.Option(metavar="TEXT", help="Of resources with this in their names.")] = None,
    namespace: Namespace = None,
    output: OutputOption = Form.TABLE,
    watch: Watch = False,
) -> None:
    """Show the configuration of a proxy as tables, each row with the object, the file and the line that it comes from.

    Virtual hosts that came by themselves (VHDS) stand in the tables that they belong to.

    For example:

      navarch config client.default

      navarch config client.default routes --port 80 --fqdn web.shop.svc.cluster.local

      navarch config --file config_dump.json clusters --direction outbound
    """
    if file is not None and proxy and proxy in set(ConfigKind):
        kind, proxy = ConfigKind(proxy), None
    look = _source(target, proxy, namespace, file, envoy)
    filters = Filters(port, fqdn, subset, direction, name)
    kinds = [each for each in _TABLES if kind in {each, ConfigKind.ALL}]

    def rows() -> list[ConfigTableRow]:
        found, origins = look(kinds)
        return [
            ConfigTableRow(kind=each.value, cells=dict(row.cells), origins=origins_of(each, row, origins))
            for each in kinds
            for row in _TABLES[each].rows(found)
            if filters.shows(row.facts)
        ]

    def print_found(found: list[ConfigTableRow]) -> None:
        if output in {Form.JSON, Form.YAML}:
            show(output, found, Listing(head=(), rows=()))
            return
        for each in kinds:
            show(output, None, config_listing(each, [row for row in found if row["kind"] == each]))

    repeat(rows, print_found, watch=watch)


def config_listing(kind: ConfigKind, rows: Sequence[ConfigTableRow]) -> Listing:
    """Return the table of ``rows``, which are of ``kind``."""
    columns = _TABLES[kind].columns
    return Listing(
        head=(*columns, FROM),
        rows=[(*(row["cells"][column] for column in columns), _from(row["origins"])) for row in rows],
        nothing=f"no {kind.value}",
    )


def origins_of(kind: ConfigKind, row: ConfigRow, origins: Origins) -> list[RowOrigin]:
    """Return where ``row`` comes from: the objects that its metadata names, with what ``origins`` says of its resource."""
    of_resource = list(origins.get((kind.value, row.resource), ()))
    known = {each["object"]: each for found in origins.values() for each in found} if row.objects else {}
    named = [known.get(each, RowOrigin(object=each, file=None, line=None)) for each in row.objects]
    if kind is ConfigKind.ROUTES and named:
        return named
    return named + [each for each in of_resource if each["object"] not in row.objects]


def _from(origins: Sequence[RowOrigin]) -> str:
    if not origins:
        return "-"
    first = origins[0]
    where = place(dict(first))
    more = f" + {len(origins) - 1} more" if len(origins) > 1 else ""
    return f"{first['object']}{' ' + where if where else ''}{more}"


def _source(
    target: AdminTarget, proxy: str | None, namespace: str | None, file: str | None, envoy: str | None
) -> Callable[[Sequence[ConfigKind]], tuple[ProxyResources, Origins]]:
    """Return what finds the configuration, and where its resources come from."""
    if file is not None:
        if proxy is not None or envoy is not None:
            raise CommandFailed("expected either a PROXY or --file")
        return lambda _: (dumped_config(read_text(file), file), {})
    if proxy is None:
        raise CommandFailed("expected a PROXY, as client.default, or --file with a dump")
    client, proxy_id = target.proxy(proxy, namespace)

    def look(kinds: Sequence[ConfigKind]) -> tuple[ProxyResources, Origins]:
        admin = envoy_admin(target, proxy_id, envoy) if envoy is not None else None
        found = dumped_config(admin.get(DUMP), admin.name) if admin else sent_config(client, proxy_id)
        return found, _origins(client, proxy_id, kinds)

    return look


def _origins(client: AdminClient, proxy_id: str, kinds: Sequence[ConfigKind]) -> Origins:
    found: dict[tuple[str, str], list[RowOrigin]] = {}
    names = [kind.value for kind in kinds]
    for kind in [*names, *(["virtualhosts"] if ConfigKind.ROUTES in kinds else [])]:
        rows = client.find(f"/v1/proxies/{part(proxy_id)}/origins/{kind}")
        for row in rows if isinstance(rows, list) else ():
            found[kind, text(row, "name")] = [_origin(each) for each in items(row, "objects")]
    return found


def _origin(row: Json) -> RowOrigin:
    line = row.get("line")
    return RowOrigin(object=text(row, "object"), file=text(row, "file") or None, line=line if isinstance(line, int) else None)
