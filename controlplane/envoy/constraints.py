"""The constraints that Envoy's messages declare (``validate.rules``), checked before anything leaves the server.

Envoy drops a whole response for one value that breaks them, good resources too. The rules are read from the descriptors and compiled once
a message type into a list of checks; fields without rules cost nothing. https://github.com/bufbuild/protoc-gen-validate#constraint-rules
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from hashlib import blake2b
from typing import NamedTuple

from google.protobuf import message_factory, symbol_database
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.descriptor_pb2 import FieldOptions, OneofOptions
from google.protobuf.message import Message
from validate import validate_pb2

from controlplane.envoy.checks import Check, list_checks, map_checks, value_checks
from controlplane.envoy.type_urls import PREFIX

_WRAPPERS = frozenset(
    f"google.protobuf.{name}Value" for name in ("Double", "Float", "Int32", "Int64", "UInt32", "UInt64", "Bool", "String")
)
_MAX_REMEMBERED = 65_536
_VALID_CONTENTS: set[tuple[str, bytes]] = set()  # types and digests of packed messages that break nothing


class _FieldRules(NamedTuple):
    name: str
    repeated: bool
    keyed: bool
    required: bool
    presence: bool
    whole: tuple[Check, ...]  # of the list or the map
    per_item: tuple[Check, ...]
    descend: bool


class _MessageRules(NamedTuple):
    fields: tuple[_FieldRules, ...]
    oneofs: tuple[str, ...]  # one of whose fields has to be set
    by_number: Mapping[int, _FieldRules]
    needed: frozenset[int]  # fields that break a rule where they are not set


def violations(message: Message) -> tuple[str, ...]:
    """Return which constraints ``message`` breaks, each as a field's path and what is expected; also inside an ``Any``."""
    return () if is_valid(message) else tuple(walk(message, ""))


def is_valid(message: Message) -> bool:
    """Return whether ``message`` breaks no constraint, as nearly all do: found out quickly, from the fields that are set."""
    if isinstance(message, AnyMessage):
        return not any(_walk_any(message, ""))
    rules = _message_rules(message.DESCRIPTOR)
    set_fields = message.ListFields()
    if rules.needed and not rules.needed.issubset([descriptor.number for descriptor, _ in set_fields]):
        return False
    if any(message.WhichOneof(oneof) is None for oneof in rules.oneofs):
        return False
    by_number = rules.by_number
    for descriptor, value in set_fields:
        field = by_number.get(descriptor.number)
        if field is None:
            continue
        if field.repeated:
            if not _are_valid(field, value):
                return False
        elif (field.per_item and _broken(field.per_item, value)) or (field.descend and not is_valid(value)):
            return False
    return True


def _are_valid(field: _FieldRules, values: Mapping[object, Message] | Sequence[Message]) -> bool:
    if field.whole and _broken(field.whole, values):
        return False
    checks = field.per_item
    items = values.values() if isinstance(values, Mapping) else values
    if checks and any(_broken(checks, item) for item in items):
        return False
    return not field.descend or all(is_valid(item) for item in items)


def _broken(checks: tuple[Check, ...], value: object) -> bool:
    return any(check(value) for check in checks)


def walk(message: Message, path: str) -> Iterator[str]:
    """Yield which constraints ``message``, which stands at ``path``, breaks."""
    if isinstance(message, AnyMessage):
        yield from _walk_any(message, path)
        return
    rules = _message_rules(message.DESCRIPTOR)
    for oneof in rules.oneofs:
        if message.WhichOneof(oneof) is None:
            yield f"{path}{oneof}: expected one of its fields"
    for field in rules.fields:
        if field.presence and not message.HasField(field.name):
            if field.required:
                yield f"{path}{field.name}: expected a value"
        elif field.repeated:
            yield from _walk_repeated(field, getattr(message, field.name), f"{path}{field.name}")
        else:
            yield from _walk_value(field, getattr(message, field.name), f"{path}{field.name}")


def _walk_repeated(field: _FieldRules, values: Iterable[object], path: str) -> Iterator[str]:
    yield from _violated(field.whole, values, path)
    if not (field.per_item or field.descend):
        return
    items = values.items() if isinstance(values, dict) or (field.keyed and hasattr(values, "items")) else enumerate(values)
    for index, item in items:
        yield from _walk_value(field, item, f"{path}[{index}]")


def _walk_value(field: _FieldRules, value: object, path: str) -> Iterator[str]:
    yield from _violated(field.per_item, value, path)
    if field.descend and isinstance(value, Message):
        yield from walk(value, f"{path}.")


def _violated(checks: Iterable[Check], value: object, path: str) -> Iterator[str]:
    for check in checks:
        if expected := check(value):
            yield f"{path}: expected {expected}"


def _walk_any(packed: AnyMessage, path: str) -> Iterator[str]:
    """Yield what is broken inside of ``packed``; what many messages have in them, and breaks nothing, is looked at once."""
    content = (packed.type_url, blake2b(packed.value, digest_size=16).digest())
    if content in _VALID_CONTENTS:
        return
    try:
        kind = symbol_database.Default().GetSymbol(packed.type_url.removeprefix(PREFIX))
    except KeyError:
        return
    broken = tuple(walk(kind.FromString(packed.value), f"{path}({packed.type_url.rpartition('.')[2]})."))
    if not broken:
        if len(_VALID_CONTENTS) >= _MAX_REMEMBERED:
            _VALID_CONTENTS.clear()
        _VALID_CONTENTS.add(content)
    yield from broken


@cache
def _message_rules(descriptor: Descriptor) -> _MessageRules:
    oneofs = tuple(oneof.name for oneof in descriptor.oneofs if _is_required(oneof.GetOptions()))
    by_number = {descriptor_field.number: field for descriptor_field in descriptor.fields if (field := _field_rules(descriptor_field))}
    empty = message_factory.GetMessageClass(descriptor)()
    needed = (number for number, field in by_number.items() if _is_needed(field, empty))
    return _MessageRules(tuple(by_number.values()), oneofs, by_number, frozenset(needed))


def _is_needed(field: _FieldRules, empty: Message) -> bool:
    """Return whether ``field`` of a message breaks a rule as long as it is ``empty``."""
    if field.presence:
        return field.required
    value = getattr(empty, field.name)
    return _broken(field.whole, value) if field.repeated else _broken(field.per_item, value)


def _is_required(options: OneofOptions) -> bool:
    # The stubs have extensions without their message; so it is asked for by its number.
    return any(extension.number == validate_pb2.REQUIRED_FIELD_NUMBER and value for extension, value in options.ListFields())


def _rules_of(options: FieldOptions) -> validate_pb2.FieldRules:
    for extension, value in options.ListFields():
        if extension.number == validate_pb2.RULES_FIELD_NUMBER and isinstance(value, validate_pb2.FieldRules):
            return value
    return validate_pb2.FieldRules()


def _field_rules(field: FieldDescriptor) -> _FieldRules | None:
    rules = _rules_of(field.GetOptions())
    kind = rules.WhichOneof("type") or ""
    keyed = field.message_type is not None and field.message_type.GetOptions().map_entry
    whole: tuple[Check, ...] = ()
    item_rules = rules
    if kind == "repeated":
        whole, item_rules = tuple(list_checks(rules.repeated)), rules.repeated.items
    elif kind == "map":
        whole, item_rules = tuple(map_checks(rules.map)), rules.map.values
    per_item = tuple(value_checks(item_rules))
    content = field.message_type.fields_by_name["value"].message_type if keyed and field.message_type else field.message_type
    descend = content is not None and content.full_name not in _WRAPPERS and not item_rules.message.skip
    required = rules.message.required or bool(getattr(getattr(rules, kind, None), "required", False))
    required = required and field.containing_oneof is None  # of a choice, only what is chosen has to be there
    if not (whole or per_item or required or descend):
        return None
    presence = field.has_presence and not field.is_repeated
    return _FieldRules(field.name, field.is_repeated, keyed, required, presence, whole, per_item, descend)
