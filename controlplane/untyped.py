"""JSON of unknown shape, and how to look into it without trusting that shape: what is missing or of another type counts as empty."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import TypeAlias

Json: TypeAlias = dict[str, object]


def section(data: Mapping[str, object], name: str) -> Json:
    """Return the object in the field ``name`` of ``data``, empty where there is none."""
    value = data.get(name)
    return value if isinstance(value, dict) else {}


def text(data: Mapping[str, object], name: str) -> str:
    """Return the string in the field ``name`` of ``data``, empty where there is none."""
    value = data.get(name)
    return value if isinstance(value, str) else ""


def number(data: Mapping[str, object], name: str) -> int:
    """Return the integer in the field ``name`` of ``data``, 0 where there is none."""
    value = data.get(name)
    return value if isinstance(value, int) else 0


def instant(data: Mapping[str, object], name: str) -> float:
    """Return the time in the field ``name`` of ``data``, ISO 8601 with a zone, in seconds since the epoch; 0.0 where there is none."""
    try:
        at = dt.datetime.fromisoformat(text(data, name))
    except ValueError:
        return 0.0
    return at.timestamp() if at.tzinfo else 0.0


def is_deeper(data: object, levels: int) -> bool:
    """Return whether there is anything in ``data`` below so many ``levels`` of objects and lists."""
    inner = [data]
    for _ in range(levels + 1):
        inner = [value for each in inner if isinstance(each, dict | list) for value in (each.values() if isinstance(each, dict) else each)]
    return bool(inner)


def items(data: Mapping[str, object], name: str = "items") -> tuple[Json, ...]:
    """Return the objects in the list ``name`` of ``data``."""
    values = data.get(name)
    return tuple(item for item in values if isinstance(item, dict)) if isinstance(values, list) else ()
