"""The tables of commands for operators, as text to read: in terminals of 80 and 120 columns, and in a pipe."""

from __future__ import annotations

import json
from pathlib import Path
from types import NoneType, UnionType
from typing import Union, cast, get_args, get_origin, get_type_hints, is_typeddict

import pytest

from controlplane.cli.operator.config.config import ConfigKind, ConfigTableRow, RowOrigin, config_listing
from controlplane.cli.operator.looking.check import CheckRow
from controlplane.cli.operator.looking.describe import Described
from controlplane.cli.operator.looking.history import history_listing
from controlplane.cli.operator.output import Listing
from controlplane.cli.operator.problems import problem_listing
from controlplane.cli.operator.proxies.differences import Compared
from controlplane.cli.operator.proxies.proxies import proxy_listing
from controlplane.cli.operator.proxies.sync import ProxySync, proxy_sync
from controlplane.cli.tables import drawn, plain

NOW = 1_767_225_600.0  # 2026-01-01T00:00:00Z
FOLDER = Path("tests/golden/commands")
SCHEMAS = Path("docs/schemas/commands.json")
PROXY = {
    "id": "sidecar~10.0.0.1~productpage-v1-5d4f.shop~shop.svc.cluster.local",
    "envoy": "1.40.0",
    "identity": "spiffe://cluster.local/ns/shop/sa/productpage",
    "synced": False,
    "connections": [
        {
            "connectedAt": "2025-12-31T22:00:00Z",
            "types": [
                {"type": "Cluster", "sent": "2", "acked": "2", "ackedAt": "2025-12-31T23:59:18Z", "resources": 12},
                {"type": "Listener", "sent": "2", "acked": "1", "sentAt": "2025-12-31T23:59:50Z", "resources": 7},
                {
                    "type": "RouteConfiguration",
                    "sent": "3",
                    "acked": "2",
                    "ackedAt": "2025-12-31T20:00:00Z",
                    "resources": 3,
                    "nacked": "3",
                    "nackedAt": "2025-12-31T23:50:00Z",
                    "error": "no such cluster",
                },
            ],
        }
    ],
    "heldBack": [],
}
PROBLEM = {
    "object": "VirtualService/shop/reviews",
    "field": "spec.http[0].route[0].destination.host",
    "severity": "error",
    "code": "UnknownHost",
    "message": "no service reviews.shop.svc.cluster.local",
    "file": "shop/reviews.yaml",
    "line": 9,
}
CHANGE = {
    "number": 12,
    "at": "2025-12-31T23:58:00Z",
    "sources": ["files"],
    "objectCount": 1,
    "resourceCount": 3,
    "proxies": 40,
    "objects": [{"object": "VirtualService/shop/reviews", "change": "changed"}],
    "waiting": 0,
    "refused": 0,
    "seconds": 0.0713,
}
CLUSTER = ConfigTableRow(
    kind="clusters",
    cells={
        "SERVICE FQDN": "reviews.shop.svc.cluster.local",
        "PORT": "9080",
        "SUBSET": "v1",
        "DIRECTION": "outbound",
        "TYPE": "EDS",
        "DESTINATION RULE": "reviews.shop",
    },
    origins=[RowOrigin(object="DestinationRule/shop/reviews", file="shop/reviews.yaml", line=21)],
)
LISTINGS = {
    "proxies": proxy_listing([proxy_sync(PROXY, "http://127.0.0.1:15014")], NOW),
    "problems": problem_listing([PROBLEM]),
    "history": history_listing([CHANGE], NOW),
    "clusters": config_listing(ConfigKind.CLUSTERS, [CLUSTER]),
}


def in_columns(listing: Listing, columns: int | None) -> str:
    """Return ``listing`` as a terminal of so many ``columns`` shows it; ``None``: as a pipe has it."""
    there = [number for number, name in enumerate(listing.head) if name not in listing.wide]
    rows = [[row[number] for number in there] for row in listing.rows]
    head = [listing.head[number] for number in there]
    text = plain(rows) if columns is None else drawn(head, rows, width=columns)
    return "\n".join(line.rstrip() for line in text.splitlines()) + "\n"


def whole(name: str) -> str:
    return "".join(f"# {columns or 'a pipe'}\n{in_columns(LISTINGS[name], columns)}\n" for columns in (80, 120, None))


def schemas() -> str:
    """Return what commands print with ``-o json``, as JSON schemas."""
    outputs: dict[str, object] = {
        "proxies": list[ProxySync],
        "proxies PROXY": Compared,
        "config": list[ConfigTableRow],
        "describe": Described,
        "check": list[CheckRow],
    }
    return json.dumps({name: schema(kind) for name, kind in outputs.items()}, indent=2) + "\n"


def schema(kind: object) -> dict[str, object]:
    """Return the JSON schema of ``kind``: a TypedDict, or what it is made of."""
    match get_origin(kind), get_args(kind):
        case (origin, (item,)) if origin is list:
            return {"type": "array", "items": schema(item)}
        case (origin, (_, item)) if origin is dict:
            return {"type": "object", "additionalProperties": schema(item)}
        case (origin, members) if origin in {Union, UnionType}:
            return {"anyOf": [schema(each) for each in members]}
        case _ if isinstance(kind, type) and is_typeddict(kind):
            fields = get_type_hints(kind)
            properties = {name: schema(each) for name, each in fields.items()}
            return {"title": kind.__name__, "type": "object", "properties": properties, "required": list(fields)}
        case _:
            return {"type": {str: "string", int: "integer", bool: "boolean", NoneType: "null"}[cast("type", kind)]}


@pytest.mark.parametrize("name", LISTINGS)
def test_tables_fit_their_terminals(name: str) -> None:
    """``python -m tests.unit.cli.test_operator_tables`` writes them anew; read the difference."""
    text = whole(name)

    assert text == (FOLDER / f"{name}.txt").read_text()
    assert max(map(len, in_columns(LISTINGS[name], 80).splitlines())) <= 80
    assert max(map(len, in_columns(LISTINGS[name], 120).splitlines())) <= 120


def test_the_schemas_of_what_is_printed_are_written_down() -> None:
    assert schemas() == SCHEMAS.read_text()


def write() -> None:
    FOLDER.mkdir(exist_ok=True)
    SCHEMAS.parent.mkdir(exist_ok=True)
    SCHEMAS.write_text(schemas())
    for name in LISTINGS:
        (FOLDER / f"{name}.txt").write_text(whole(name))


if __name__ == "__main__":
    write()
