"""``navarch proxies``."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from controlplane.cli.operator.connection import AdminTarget, Namespace, asks_admin, complete_proxy
from controlplane.cli.operator.failures import WANTING
from controlplane.cli.operator.names import proxy_namespace
from controlplane.cli.operator.output import Form, Listing, OutputOption, Watch, repeat, show
from controlplane.cli.operator.proxies.sync import COLUMNS, ProxySync, age, proxy_sync, sync_problems
from controlplane.fleet.sync_state import SyncState
from controlplane.untyped import text

_WIDE = frozenset(("VHDS", "SDS", "ECDS", "IDENTITY", "CONNECTED", "NODE"))
_Name = Annotated[
    str | None,
    typer.Argument(
        metavar="[PROXY]", help="One proxy: what it was sent is compared with what its Envoy holds.", autocompletion=complete_proxy
    ),
]
_Envoy = Annotated[
    str | None,
    typer.Option("--envoy", metavar="HOST:PORT", help="The admin address of the Envoy of PROXY. In a cluster it is found by the pod."),
]


@asks_admin
def proxies(
    target: AdminTarget,
    proxy: _Name = None,
    envoy: _Envoy = None,
    namespace: Namespace = None,
    output: OutputOption = Form.TABLE,
    watch: Watch = False,
) -> None:
    """List the proxies that are connected, and whether they have accepted what they were sent.

    SYNCED: it has accepted the last response. STALE: it has not answered yet. NACKED: it has refused it. HELD: rules stay as they were,
    as what they would lead to is not there. The age is how long it has been so. Exits 1 if one has refused something.

    With the name of a PROXY: what it was sent against what its Envoy holds. Exits 1 if that differs.

    For example:

      navarch proxies

      navarch proxies --watch -n shop

      navarch proxies client.default --envoy 127.0.0.1:15000
    """
    if proxy is not None:
        from controlplane.cli.operator.proxies.differences import compare

        compare(target, proxy, namespace, envoy, output, watch=watch)
        return

    def print_found(found: list[ProxySync]) -> None:
        show(output, found, proxy_listing(found, time.time()))
        if output in {Form.TABLE, Form.WIDE}:
            for each in found:
                for told in sync_problems(each):
                    typer.echo(told, err=True)

    found = repeat(lambda: all_proxies(target, namespace), print_found, watch=watch)
    if any(each["state"] == SyncState.NACKED for row in found for each in row["types"]):
        raise typer.Exit(WANTING)


def all_proxies(target: AdminTarget, namespace: str | None) -> list[ProxySync]:
    """Return the state of all proxies of ``target`` that are connected, in ``namespace`` where it is given."""
    rows = ((client.name, row) for client, row in target.proxies() if namespace in {None, proxy_namespace(text(row, "id"))})
    return sorted((proxy_sync(row, name) for name, row in rows), key=lambda each: (each["name"], each["id"]))


def proxy_listing(found: list[ProxySync], now: float) -> Listing:
    """Return the table of the proxies ``found``, ``now``, in seconds since the epoch."""
    return Listing(
        head=("NAME", "TYPE", "VERSION", *COLUMNS.values(), "REPLICA", "IDENTITY", "CONNECTED", "NODE"),
        rows=[_row(each, now) for each in found],
        styles=[_style(each) for each in found],
        wide=_WIDE,
        nothing="no proxy is connected",
    )


def _row(proxy: ProxySync, now: float) -> list[str]:
    by_type = {each["type"]: f"{each['state']} {age(each['since'], now)}".strip() for each in proxy["types"]}
    return [
        proxy["name"],
        proxy["type"],
        proxy["envoy"] or "",
        *(by_type.get(kind, "-") for kind in COLUMNS),
        proxy["replica"].removeprefix("pod ").removeprefix("http://"),
        proxy["identity"] or "",
        age(proxy["connectedAt"], now),
        proxy["id"],
    ]


def _style(proxy: ProxySync) -> str:
    states = {each["state"] for each in proxy["types"]}
    if SyncState.NACKED in states:
        return "red"
    return "yellow" if states & {SyncState.STALE, SyncState.HELD} else ""
