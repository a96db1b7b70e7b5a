"""The last changes: what each did, who has it, and what configuration was at any of them."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

import orjson

from controlplane.admin.schemas import HistoryRow, ManifestChange
from controlplane.admin.state import AdminState
from controlplane.admin.web.rendering import html_pieces

MOST_CHANGES = 100  # that are listed
_MOST_OBJECTS = 50  # whose differences are written out
_MOST_BYTES = 64 << 10  # of a manifest that is compared line by line


class DiffLine(NamedTuple):
    """A line of a difference: ``kind`` is added, removed, or empty."""

    kind: str
    text: str


class ObjectDifference(NamedTuple):
    """What is different of an object; ``lines`` are empty where it is too long to be compared."""

    object: str
    what: str
    lines: tuple[DiffLine, ...]


def history_page(state: AdminState, at: int | None, *, now: bool) -> Iterator[bytes]:
    """Yield the page: the last changes, and what the change ``at`` did; with ``now`` what is different since then. Default: the last."""
    history = state.history
    rows: list[HistoryRow] = []
    for row in islice(history.rows(None), MOST_CHANGES):
        rows.append(row)
        yield b""
    chosen = history.last() if at is None else at
    since, until = (chosen, history.last()) if now else (chosen - 1, chosen)
    unknown = history.unknown(since, until) if rows else None
    differences: list[ObjectDifference] = []
    found = 0
    for change in history.between(since, until) if rows and unknown is None else ():
        found += 1
        if found <= _MOST_OBJECTS:
            differences.append(_difference(change))
        yield b""
    numbers = [row.number for row in rows]
    yield from html_pieces(
        "history.html",
        "history",
        {
            "rows": rows,
            "first": min(numbers, default=0),
            "last": max(numbers, default=0),
            "chosen": chosen,
            "now": now,
            "unknown": unknown,
            "differences": differences,
            "found": found,
        },
    )


def _difference(change: ManifestChange) -> ObjectDifference:
    before, after = _text(change.before), _text(change.after)
    what = "added" if not before else "removed" if not after else "changed"
    if max(len(before), len(after)) > _MOST_BYTES:
        return ObjectDifference(change.object, what, ())
    lines = islice(difflib.unified_diff(before.splitlines(), after.splitlines(), lineterm="", n=3), 2, None)
    return ObjectDifference(change.object, what, tuple(DiffLine(_KINDS.get(line[:1], ""), line) for line in lines))


_KINDS = {"+": "added", "-": "removed", "@": "place"}


def _text(manifest: dict[str, object] | None) -> str:
    return orjson.dumps(manifest, option=orjson.OPT_INDENT_2).decode() if manifest is not None else ""
