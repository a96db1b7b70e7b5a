"""``navarch proxies PROXY``: what a proxy was sent against what its Envoy holds, the difference in words."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TypedDict

import typer

from controlplane.cli.operator.client import part
from controlplane.cli.operator.config.clusters import endpoint_rows
from controlplane.cli.operator.config.proxy_config import ProxyResources, camel_case, dumped_config, sent_config
from controlplane.cli.operator.connection import AdminTarget
from controlplane.cli.operator.failures import WANTING
from controlplane.cli.operator.output import Form, Listing, repeat, show
from controlplane.cli.operator.proxies.envoy_admin import envoy_admin
from controlplane.cli.operator.proxies.sync import ProxySync, age, proxy_sync, sync_problems
from controlplane.fleet.sync_state import SyncState
from controlplane.untyped import text

COMPARED = ("listeners", "routes", "clusters", "endpoints")  # an Envoy does not show the content of secrets
DUMP = "/config_dump?include_eds"
_MOST_FIELDS = 5  # of one resource that are named
_MOST_SHOWN = 60  # characters of a value
_OWN = frozenset(("prometheus_stats", "agent", "sds-grpc", "xds-grpc", "zipkin"))  # of bootstraps, by their names


class Difference(TypedDict):
    """One resource that a proxy was sent and does not hold, or holds otherwise; or that it holds and was not sent."""

    kind: str
    name: str
    difference: str


class Compared(TypedDict):
    """A proxy; ``differences`` is ``None`` where its Envoy was not asked."""

    proxy: ProxySync
    envoy: str | None
    differences: list[Difference] | None


def compare(target: AdminTarget, name: str, namespace: str | None, envoy: str | None, output: Form, *, watch: bool) -> None:
    """Print what the proxy ``name`` was sent against what its Envoy holds; exits 1 where that differs."""
    client, proxy_id = target.proxy(name, namespace)
    admin = envoy_admin(target, proxy_id, envoy)

    def look() -> Compared:
        sync = proxy_sync(client.get(f"/v1/proxies/{part(proxy_id)}"), client.name)
        if admin is None:
            return Compared(proxy=sync, envoy=None, differences=None)
        dump = dumped_config(admin.get(DUMP), admin.name)
        return Compared(proxy=sync, envoy=admin.name, differences=list(differences(sent_config(client, proxy_id), dump)))

    def print_found(found: Compared) -> None:
        if output in {Form.JSON, Form.YAML}:
            show(output, found, Listing(head=(), rows=()))
        else:
            _print(found, output)

    found = repeat(look, print_found, watch=watch)
    if found["differences"] or any(each["state"] == SyncState.NACKED for each in found["proxy"]["types"]):
        raise typer.Exit(WANTING)


def _print(found: Compared, output: Form) -> None:
    sync, now = found["proxy"], time.time()
    rows = [(each["type"], each["state"], age(each["since"], now), str(each["resources"])) for each in sync["types"]]
    show(output, None, Listing(head=("TYPE", "STATE", "FOR", "SENT"), rows=rows, nothing=f"{sync['name']} has asked for nothing yet"))
    for told in sync_problems(sync):
        typer.echo(told)
    if found["differences"] is None:
        typer.echo("What its Envoy holds was not looked at: --envoy HOST:PORT says where its admin address is.", err=True)
    elif not found["differences"]:
        typer.echo(f"The Envoy at {found['envoy']} holds exactly what it was sent.")
    else:
        different = [(each["kind"], each["name"], each["difference"]) for each in found["differences"]]
        show(output, None, Listing(head=("KIND", "NAME", "DIFFERENCE"), rows=different))


def differences(sent: ProxyResources, dump: ProxyResources) -> Iterator[Difference]:
    """Yield what an Envoy that says ``dump`` has otherwise than it was ``sent``."""
    for kind in COMPARED:
        there, here = sent.of(kind), dump.of(kind)
        asked_for = _subscribed(kind, dump)
        for name in sorted(there):
            if name not in here:
                if refusal := dump.refused.get((kind, name)):
                    yield Difference(kind=kind, name=name, difference=f"the Envoy does not have it: it refused it: {refusal}")
                elif asked_for is None or name in asked_for:
                    yield Difference(kind=kind, name=name, difference="it was sent, and the Envoy does not have it")
            elif changed := list(changes(_compared(kind, sent, name), _compared(kind, dump, name))):
                because = f"; it refused the newest: {refusal}" if (refusal := dump.refused.get((kind, name))) else ""
                more = f" and {len(changed) - _MOST_FIELDS} more" if len(changed) > _MOST_FIELDS else ""
                yield Difference(kind=kind, name=name, difference="; ".join(changed[:_MOST_FIELDS]) + more + because)
        for name in sorted(here.keys() - there.keys()):
            if here[name].version and name not in _OWN:
                yield Difference(kind=kind, name=name, difference="the Envoy has it, and it is not sent any more")


def changes(sent: object, has: object, path: str = "") -> Iterator[str]:
    """Yield in words how ``has``, JSON, differs from what was ``sent``, field by field."""
    if isinstance(sent, dict) and isinstance(has, dict):
        for name in [*sent, *(each for each in has if each not in sent)]:
            where = f"{path}.{name}" if path else str(name)
            if name not in has:
                yield f"{where}: {_shortened(sent[name])} was sent, the Envoy has none"
            elif name not in sent:
                yield f"{where}: none was sent, the Envoy has {_shortened(has[name])}"
            else:
                yield from changes(sent[name], has[name], where)
    elif isinstance(sent, list) and isinstance(has, list):
        for position, (one, other) in enumerate(zip(sent, has, strict=False)):
            yield from changes(one, other, f"{path}[{position}]")
        if len(sent) != len(has):
            yield f"{path}: {len(sent)} were sent, the Envoy has {len(has)}"
    elif sent != has:
        yield f"{path}: {_shortened(sent)} was sent, the Envoy has {_shortened(has)}"


def _subscribed(kind: str, dump: ProxyResources) -> frozenset[str] | None:
    """Return which resources of ``kind`` the Envoy asks for by name; ``None``: all there are."""
    if kind == "endpoints":
        return frozenset(name for name, each in dump.of("clusters").items() if text(each.message, "type") == "EDS")
    return frozenset() if kind == "routes" else None


def _compared(kind: str, config: ProxyResources, name: str) -> object:
    """Return what of ``name`` in ``config`` is the same if an Envoy has what it was sent: it adds defaults, and merges virtual hosts."""
    message = config.of(kind)[name].message
    match kind:
        case "routes":
            hosts = dict(config.route_tables())[name]
            return camel_case({**message, "virtualHosts": {text(host, "name").removeprefix(f"{name}/"): host for host in hosts}})
        case "endpoints":
            rows = endpoint_rows(ProxyResources({"endpoints": {name: config.of(kind)[name]}}))
            return {row.cells["ENDPOINT"]: {**row.cells, "CLUSTER": name} for row in rows}
        case _:
            return camel_case(message)


def _shortened(value: object) -> str:
    text_of = str(value)
    return text_of if len(text_of) <= _MOST_SHOWN else text_of[: _MOST_SHOWN - 1] + "…"
