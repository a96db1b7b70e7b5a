"""``navarch history``."""

from __future__ import annotations

import difflib
import time
from collections.abc import Iterator
from typing import Annotated

import typer

from controlplane.cli.operator.connection import AdminTarget, asks_admin
from controlplane.cli.operator.failures import CommandFailed
from controlplane.cli.operator.output import Form, Listing, OutputOption, Watch, repeat, show
from controlplane.cli.operator.proxies.sync import age
from controlplane.untyped import Json, items, number, section, text

_MOST_NAMED = 3
_What = Annotated[list[str] | None, typer.Argument(metavar="[NUMBER | diff A B]", help="One change, or what is different between two.")]
_Limit = Annotated[int, typer.Option("--limit", min=1, max=1000, help="How many changes are listed.")]


@asks_admin
def history(target: AdminTarget, what: _What = None, limit: _Limit = 20, output: OutputOption = Form.TABLE, watch: Watch = False) -> None:
    """List the last changes: which objects, what came of them, how many proxies, and how long it took until the last one had accepted.

    With a NUMBER: all of that change. With diff A B: what the changes after A until B have changed, as manifests.

    For example:

      navarch history

      navarch history 12

      navarch history diff 11 14
    """
    match what or []:
        case []:
            repeat(
                lambda: target.client.rows("/v1/history", limit=str(limit)),
                lambda rows: show(output, rows, history_listing(rows, time.time())),
                watch=watch,
            )
        case [one] if one.isdecimal():
            row = target.client.get(f"/v1/history/{one}")
            show(output, row, _parts(row))
        case ["diff", since, until] if since.isdecimal() and until.isdecimal():
            rows = target.client.rows("/v1/history/diff", since=since, until=until)
            if output in {Form.JSON, Form.YAML}:
                show(output, rows, Listing(head=(), rows=()))
            else:
                typer.echo("\n".join(difference(rows)) or f"nothing is different between {since} and {until}")
        case _:
            raise CommandFailed("expected nothing, a number, or diff A B, as the numbers of navarch history")


def history_listing(rows: list[Json], now: float) -> Listing:
    """Return the table of the changes ``rows``, ``now``, in seconds since the epoch."""
    return Listing(
        head=("CHANGE", "AGE", "OBJECTS", "RESOURCES", "PROXIES", "ACCEPTED", "SOURCE"),
        rows=[
            (
                str(number(row, "number")),
                age(text(row, "at"), now),
                _named([f"{text(each, 'object')} {text(each, 'change')}" for each in items(row, "objects")], number(row, "objectCount")),
                str(number(row, "resourceCount")),
                str(number(row, "proxies")),
                outcome(row),
                ", ".join(each for each in _texts(row, "sources")),
            )
            for row in rows
        ],
        styles=["red" if number(row, "refused") or row.get("failed") is True else "" for row in rows],
        wide=frozenset(("SOURCE",)),
        nothing="nothing has changed",
    )


def outcome(row: Json) -> str:
    """Return what became of the change ``row``."""
    if row.get("failed") is True:
        return "failed: an internal error"
    if refused := number(row, "refused"):
        return f"refused {refused} times"
    if waiting := number(row, "waiting"):
        return f"{waiting} have not answered"
    seconds = row.get("seconds")
    return f"after {seconds:.3f} s" if isinstance(seconds, float) else "-"


def difference(rows: list[Json]) -> Iterator[str]:
    """Yield the lines of a unified diff of the objects in ``rows``."""
    for row in rows:
        before, after = (_yaml(row, name).splitlines() for name in ("before", "after"))
        name = text(row, "object")
        yield from difflib.unified_diff(before, after, name if before else "/dev/null", name if after else "/dev/null", lineterm="")


def _yaml(row: Json, name: str) -> str:
    import yaml

    return yaml.safe_dump(section(row, name), sort_keys=False) if row.get(name) is not None else ""


def _parts(row: Json) -> Listing:
    parts = [(text(each, "object"), text(each, "change")) for each in items(row, "objects")]
    parts += [(f"{text(each, 'type')} {text(each, 'name')}", "came out different") for each in items(row, "resources")]
    return Listing(head=("WHAT", "BECAME"), rows=[*parts, ("proxies", f"{number(row, 'proxies')}: {outcome(row)}")])


def _named(names: list[str], count: int) -> str:
    more = f" and {count - _MOST_NAMED} more" if count > _MOST_NAMED else ""
    return ", ".join(names[:_MOST_NAMED]) + more


def _texts(row: Json, name: str) -> list[str]:
    values = row.get(name)
    return [each for each in values if isinstance(each, str)] if isinstance(values, list) else []
