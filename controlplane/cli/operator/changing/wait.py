"""``navarch wait``."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable
from enum import StrEnum
from typing import Annotated

import typer

from controlplane.cli.operator.changing.texts import manifest_text
from controlplane.cli.operator.connection import AdminTarget, asks_admin
from controlplane.cli.operator.failures import WANTING, CommandFailed
from controlplane.cli.operator.names import short_name
from controlplane.cli.operator.output import Form, Listing, OutputOption, show
from controlplane.untyped import Json, items, number, text

_LOOK_S = 0.1  # between two looks
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_KNOWN_KINDS = 3


class Goal(StrEnum):
    """What is waited for."""

    ACCEPTED = "accepted"  # it is what is served, without errors
    PROGRAMMED = "programmed"  # and every proxy that needs it has accepted it


Objects = Annotated[list[str] | None, typer.Argument(metavar="[KIND/NAME]...", help="Objects as they are served now.", show_default=False)]
Files = Annotated[
    list[str] | None,
    typer.Option("--filename", "-f", metavar="PATH", help="The objects of these manifests, as they are written. - is standard input."),
]
For = Annotated[Goal, typer.Option("--for", help="accepted: it is what is served; programmed: every proxy that needs it has it, too.")]
Timeout = Annotated[str, typer.Option("--timeout", metavar="TIME", help="How long at most: 30s, 2m, 500ms.")]
InNamespace = Annotated[str, typer.Option("--namespace", "-n", metavar="NAME", help="The namespace of objects that name none.")]


@asks_admin
def wait(
    target: AdminTarget,
    objects: Objects = None,
    filename: Files = None,
    goal: For = Goal.PROGRAMMED,
    timeout: Timeout = "60s",
    namespace: InNamespace = "default",
    output: OutputOption = Form.TABLE,
) -> None:
    """Wait until objects are served, and every proxy that needs them has accepted them; or say who has not, and why.

    Every control plane of a cluster is asked about its own proxies. Exits 1 where that is not so within the time.

    For example:

      kubectl apply -f ./change.yaml && navarch wait -f ./change.yaml --context kind-mesh

      navarch wait VirtualService/web -n shop --for accepted --timeout 10s
    """
    if bool(objects) == bool(filename):
        raise CommandFailed("expected either -f, or objects as VirtualService/web")
    ends = time.monotonic() + _seconds(timeout)
    look = _look(target, filename or [], [_named(each, namespace) for each in objects or ()])
    rows = look()
    while not _all_reached(rows, goal) and time.monotonic() < ends:
        time.sleep(_LOOK_S)
        rows = look()
    show(output, rows, Listing(head=("object", "state", "proxies", "waiting for"), rows=[_cells(row, goal) for row in rows]))
    if not _all_reached(rows, goal):
        raise typer.Exit(WANTING)


def _look(target: AdminTarget, paths: list[str], names: list[str]) -> Callable[[], list[Json]]:
    """Return what looks how far the objects have come, at all control planes."""
    written = manifest_text(paths, sys.stdin.buffer) if paths else ""

    def look() -> list[Json]:
        found: list[Json] = []
        for client in target.clients:
            if written:
                found += items(client.post("/v1/standings", written), "objects")
            for name in names:
                answer = client.find("/v1/standings", name=name)
                missing: Json = {"object": name, "served": False, "why": "it is not served"}
                found += items(answer, "objects") if isinstance(answer, dict) else (missing,)
        return found

    return look


def _all_reached(rows: list[Json], goal: Goal) -> bool:
    return bool(rows) and all(row.get(goal.value) is True for row in rows)


def _named(name: str, namespace: str) -> str:
    parts = name.split("/")
    if len(parts) not in {2, _KNOWN_KINDS} or not all(parts):
        raise CommandFailed(f"expected KIND/NAME or KIND/NAMESPACE/NAME, found {name!r}")
    return name if len(parts) == _KNOWN_KINDS else f"{parts[0]}/{namespace}/{parts[1]}"


def _seconds(written: str) -> float:
    found = re.fullmatch(r"([0-9]{1,6}(?:\.[0-9]{1,3})?)(ms|s|m|h)?", written)
    if not found:
        raise CommandFailed(f"--timeout: expected a time as 30s or 2m, found {written!r}")
    return float(found[1]) * _UNITS[found[2] or "s"]


def _cells(row: Json, goal: Goal) -> list[str]:
    reached = row.get(goal.value) is True
    state = goal.value if reached else "accepted" if row.get("accepted") is True else "not accepted"
    proxies = f"{number(row, 'have')}/{number(row, 'needed')}"
    return [text(row, "object"), state, proxies, "" if reached else "; ".join(_reasons(row)) or "the next look"]


def _reasons(row: Json) -> list[str]:
    found = [text(row, "why"), *_texts(row, "errors"), text(row, "heldBack")]
    refusals = ((short_name(text(each, "proxy")), text(each, "resource"), text(each, "message")) for each in items(row, "refusals"))
    found += [f"{proxy} refuses {resource}: {message}" for proxy, resource, message in refusals]
    waiting = ((short_name(text(each, "proxy")), text(each, "resource")) for each in items(row, "waiting"))
    found += [f"{proxy} has not accepted {resource}" for proxy, resource in waiting]
    return [each for each in found if each]


def _texts(row: Json, name: str) -> list[str]:
    value = row.get(name)
    return [each for each in value if isinstance(each, str)] if isinstance(value, list) else []
