"""The constraints that Envoy's messages declare (``validate.rules``), checked before anything leaves the server.

Envoy drops a whole response for one value that breaks them, good resources too. The rules are read from the descriptors and compiled
once a message type into a list of checks; fields without rules cost nothing.
https://github.com/bufbuild/protoc-gen-validate#constraint-rules
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import cache
from operator import eq, ge, gt, le, lt
from typing import NamedTuple

import re2
from google.protobuf import symbol_database
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from validate import validate_pb2

from controlplane.envoy.type_urls import PREFIX

Check = Callable[[object], str | None]
_NUMBERS = frozenset(("float", "double", "int32", "int64", "uint32", "uint64", "sint32", "sint64", "fixed32", "fixed64"))
_ORDERS: tuple[tuple[str, str, Callable[[float, float], bool]], ...] = (
    ("gt", ">", gt),
    ("gte", ">=", ge),
    ("lt", "<", lt),
    ("lte", "<=", le),
)
_WRAPPERS = frozenset(
    f"google.protobuf.{name}Value" for name in ("Double", "Float", "Int32", "Int64", "UInt32", "UInt64", "Bool", "String")
)


class _Field(NamedTuple):
    name: str
    repeated: bool
    keyed: bool
    required: bool
    presence: bool
    whole: tuple[Check, ...]  # of the list or the map
    each: tuple[Check, ...]
    descend: bool


class _Rules(NamedTuple):
    fields: tuple[_Field, ...]
    oneofs: tuple[str, ...]  # one of whose fields has to be set


def violations(message: Message) -> tuple[str, ...]:
    """Return which constraints ``message`` breaks, each as a field's path and what is expected; also inside an ``Any``."""
    return tuple(_walk(message, ""))


def _walk(message: Message, path: str) -> Iterator[str]:
    if isinstance(message, AnyMessage):
        yield from _inside(message, path)
        return
    rules = _rules(message.DESCRIPTOR)
    for oneof in rules.oneofs:
        if message.WhichOneof(oneof) is None:
            yield f"{path}{oneof}: expected one of its fields"
    for field in rules.fields:
        at = f"{path}{field.name}"
        if field.presence and not message.HasField(field.name):
            if field.required:
                yield f"{at}: expected a value"
            continue
        value = getattr(message, field.name)
        if field.repeated:
            yield from _failed(field.whole, value, at)
            items = value.items() if field.keyed else enumerate(value)
            if field.each or field.descend:
                for index, item in items:
                    yield from _one(field, item, f"{at}[{index}]")
        else:
            yield from _one(field, value, at)


def _one(field: _Field, value: object, path: str) -> Iterator[str]:
    yield from _failed(field.each, value, path)
    if field.descend and isinstance(value, Message):
        yield from _walk(value, f"{path}.")


def _failed(checks: Iterable[Check], value: object, path: str) -> Iterator[str]:
    for check in checks:
        if expected := check(value):
            yield f"{path}: expected {expected}"


def _inside(packed: AnyMessage, path: str) -> Iterator[str]:
    try:
        kind = symbol_database.Default().GetSymbol(packed.type_url.removeprefix(PREFIX))
    except KeyError:
        return
    yield from _walk(kind.FromString(packed.value), f"{path}({packed.type_url.rpartition('.')[2]}).")


@cache
def _rules(descriptor: Descriptor) -> _Rules:
    oneofs = tuple(each.name for each in descriptor.oneofs if _declared(each.GetOptions(), validate_pb2.required))
    return _Rules(tuple(field for each in descriptor.fields if (field := _field(each))), oneofs)


def _declared(options: Message, extension: FieldDescriptor) -> object:
    """Return what ``options`` say by ``extension``; None: nothing."""
    return next((value for field, value in options.ListFields() if field.full_name == extension.full_name), None)


def _field(field: FieldDescriptor) -> _Field | None:
    declared = _declared(field.GetOptions(), validate_pb2.rules)
    rules = declared if isinstance(declared, validate_pb2.FieldRules) else validate_pb2.FieldRules()
    kind = rules.WhichOneof("type") or ""
    keyed = field.message_type is not None and field.message_type.GetOptions().map_entry
    whole: tuple[Check, ...] = ()
    item_rules, item_kind = rules, kind
    if kind == "repeated":
        whole = tuple(_list_checks(rules.repeated))
        item_rules = rules.repeated.items
        item_kind = item_rules.WhichOneof("type") or ""
    elif kind == "map":
        whole = tuple(_map_checks(rules.map))
        item_rules = getattr(rules.map, "values")  # noqa: B009 - `values` is a field here
        item_kind = item_rules.WhichOneof("type") or ""
    each = tuple(_checks(item_rules, item_kind)) if item_kind else ()
    value_type = field.message_type.fields_by_name["value"].message_type if keyed and field.message_type else field.message_type
    descend = value_type is not None and value_type.full_name not in _WRAPPERS and not item_rules.message.skip
    required = rules.message.required or getattr(getattr(rules, kind, None), "required", False)
    required = required and field.containing_oneof is None  # of a choice, only what is chosen has to be there
    if not (whole or each or required or descend):
        return None
    return _Field(field.name, field.is_repeated, keyed, required, field.has_presence and not field.is_repeated, whole, each, descend)


def _checks(rules: validate_pb2.FieldRules, kind: str) -> Iterator[Check]:
    chosen = getattr(rules, kind)
    if kind in _NUMBERS:
        yield from _number_checks(chosen)
    elif kind == "string":
        yield from _string_checks(chosen)
    elif kind == "bytes":
        yield from _length_checks(chosen, "bytes")
    elif kind == "enum" and chosen.defined_only:
        return
    elif kind == "duration":
        yield from _duration_checks(chosen)
    elif kind == "bool" and chosen.HasField("const"):
        yield _number(eq, chosen.const, f"{chosen.const}")


def _number_checks(rules: validate_pb2.UInt32Rules) -> Iterator[Check]:
    for name, sign, test in (*_ORDERS, ("const", "=", eq)):
        if rules.HasField(name):
            bound = getattr(rules, name)
            yield _number(test, bound, f"a number {sign} {bound}", ignore_empty=rules.ignore_empty)


def _number(test: Callable[[float, float], bool], bound: float, expected: str, *, ignore_empty: bool = False) -> Check:
    def check(value: object) -> str | None:
        number = _unwrapped(value)
        return None if (ignore_empty and not number) or test(number, bound) else expected

    return check


def _string_checks(rules: validate_pb2.StringRules) -> Iterator[Check]:
    ignore_empty = rules.ignore_empty
    yield from _length_checks(rules, "characters")
    if rules.pattern:
        pattern = re2.compile(rules.pattern)
        yield lambda value: None if (ignore_empty and not value) or pattern.search(_text(value)) else f"text like {rules.pattern}"
    if start := rules.prefix:
        yield lambda value: None if (ignore_empty and not value) or _text(value).startswith(start) else f"text that begins with {start}"
    if allowed := tuple(getattr(rules, "in")):
        yield lambda value: None if (ignore_empty and not value) or value in allowed else f"one of {allowed}"
    if rules.well_known_regex:
        bad = "\0\r\n"
        yield lambda value: "text without line ends" if any(each in _text(value) for each in bad) else None


def _length_checks(rules: validate_pb2.StringRules | validate_pb2.BytesRules, unit: str) -> Iterator[Check]:
    for name in ("min_len", "min_bytes"):
        if least := getattr(rules, name, 0):
            yield _length(ge, least, f"at least {least} {unit}", ignore_empty=rules.ignore_empty)
    for name in ("max_len", "max_bytes"):
        if most := getattr(rules, name, 0):
            yield _length(le, most, f"at most {most} {unit}", ignore_empty=False)


def _length(test: Callable[[float, float], bool], bound: int, expected: str, *, ignore_empty: bool) -> Check:
    return lambda value: None if (ignore_empty and not value) or test(_size(value), bound) else expected


def _duration_checks(rules: validate_pb2.DurationRules) -> Iterator[Check]:
    for name, sign, test in _ORDERS:
        if rules.HasField(name):
            bound = _nanoseconds(getattr(rules, name))
            yield _duration(test, bound, f"a duration {sign} {bound / 1e9:g}s")


def _duration(test: Callable[[float, float], bool], bound: int, expected: str) -> Check:
    return lambda value: None if test(_nanoseconds(value), bound) else expected


def _list_checks(rules: validate_pb2.RepeatedRules) -> Iterator[Check]:
    if rules.min_items:
        yield lambda value: None if _size(value) >= rules.min_items else f"at least {rules.min_items} items"
    if rules.max_items:
        yield lambda value: None if _size(value) <= rules.max_items else f"at most {rules.max_items} items"


def _map_checks(rules: validate_pb2.MapRules) -> Iterator[Check]:
    if rules.min_pairs:
        yield lambda value: None if _size(value) >= rules.min_pairs else f"at least {rules.min_pairs} entries"


def _nanoseconds(value: object) -> int:
    return value.ToNanoseconds() if isinstance(value, Duration) else 0


def _unwrapped(value: object) -> float:
    found = getattr(value, "value", value)
    return found if isinstance(found, int | float) else 0


def _text(value: object) -> str:
    found = getattr(value, "value", value)
    return found if isinstance(found, str) else ""


def _size(value: object) -> int:
    return len(value) if hasattr(value, "__len__") else 0
