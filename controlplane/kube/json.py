"""Objects as the API server says them, and how to look into them without trusting their shape."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

import orjson

from controlplane.kube.errors import ApiServerUnreachable

Json: TypeAlias = dict[str, object]


def decoded(data: bytes) -> Json:
    """Return the JSON object ``data``; raises Unreachable for what is none, as a line that was cut in the middle."""
    try:
        found = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise ApiServerUnreachable(f"expected JSON from the API server: {error}") from error
    if not isinstance(found, dict):
        raise ApiServerUnreachable("expected a JSON object from the API server")
    return found


def section(value: Mapping[str, object], name: str) -> Json:
    """Return the object ``name`` of ``value``, empty where there is none."""
    found = value.get(name)
    return found if isinstance(found, dict) else {}


def text(value: Mapping[str, object], name: str) -> str:
    """Return the string ``name`` of ``value``, empty where there is none."""
    found = value.get(name)
    return found if isinstance(found, str) else ""


def number(value: Mapping[str, object], name: str) -> int:
    """Return the integer ``name`` of ``value``, 0 where there is none."""
    found = value.get(name)
    return found if isinstance(found, int) else 0


def items(value: Mapping[str, object], name: str = "items") -> tuple[Json, ...]:
    """Return the objects in the list ``name`` of ``value``."""
    found = value.get(name)
    return tuple(each for each in found if isinstance(each, dict)) if isinstance(found, list) else ()
