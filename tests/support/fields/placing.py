"""Puts a value where a leaf is, into what is there already, with whatever else is required on the way."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tests.support.fields.leaves import ENTRY, ITEM, Schema, Steps, part, properties

ABSENT = object()
Values = Callable[[str, Schema], object]  # the value of what is required at a path


def place(node: object, schema: Schema, steps: Steps, value: object, values: Values, path: str = "") -> object:
    """Return ``node``, which has the ``schema``, with ``value`` where ``steps`` lead; ``ABSENT`` takes away what is there.

    Of a list that is its first item, of a map its first entry. Objects on the way that are missing are made, with what is required of them.
    """
    if not steps:
        return value
    match steps[0]:
        case "[]":
            below, items = _inner(schema, "items"), list(node) if isinstance(node, list) else []
            first = place(items[0] if items else None, below, steps[1:], value, values, path + ITEM)
            return [*([] if first is ABSENT else [first]), *items[1:]]
        case "{}":
            below, entries = _inner(schema, "additionalProperties"), dict(node) if isinstance(node, dict) else {}
            name = next(iter(entries), None) or str(values(path + "{key}", {"type": "string"}))
            return _with(entries, name, place(entries.get(name), below, steps[1:], value, values, path + ENTRY))
        case name:
            fields = properties(schema)
            whole = filled(node if isinstance(node, dict) else {}, schema, values, path, but=name)
            placed = place(whole.get(name), fields[name], steps[1:], value, values, _below(path, name))
            if placed is ABSENT and name in _required(schema):
                return filled(whole, schema, values, path)
            return _with(whole, name, placed)


def filled(node: Mapping[str, object], schema: Schema, values: Values, path: str, but: str = "") -> dict[str, object]:
    """Return ``node``, an object with the ``schema`` at ``path``, with all that is required of it ``but`` one field."""
    whole = dict(node)
    fields = properties(schema)
    for name in _required(schema):
        if name not in whole and name != but:
            whole[name] = _smallest(fields[name], values, _below(path, name))
    return whole


def _smallest(schema: Schema, values: Values, path: str) -> object:
    if properties(schema):
        return filled({}, schema, values, path)
    if (item := part(schema, "items")) is not None:
        return [_smallest(item, values, path + ITEM)]
    if part(schema, "additionalProperties") is not None:
        return {}
    return values(path, schema)


def _required(schema: Schema) -> tuple[str, ...]:
    names = schema.get("required")
    return tuple(names) if isinstance(names, list | tuple) else ()


def _inner(schema: Schema, name: str) -> Schema:
    below = part(schema, name)
    assert below is not None
    return below


def _with(node: dict[str, object], name: str, value: object) -> dict[str, object]:
    if value is ABSENT:
        return {other: kept for other, kept in node.items() if other != name}
    return {**node, name: value}


def _below(path: str, name: str) -> str:
    return f"{path}.{name}".lstrip(".")
