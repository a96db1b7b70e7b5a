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

_MAX_REMEMBERED = 65_536
_MANY = 4  # items of one list: of fewer, looking them up saves nothing
_VALID_CONTENTS: set[tuple[str, bytes]] = set()  # types and digests of messages, packed or of a list, that break nothing


class _FieldRules(NamedTuple):
    name: str
    repeated: bool
    keyed: bool
    required: bool
    presence: bool
    whole: tuple[Check, ...]  # of the list or the map
    per_item: tuple[Check, ...]
    descend: bool
    needed: bool  # breaks a rule where it is not set


class _MessageRules(NamedTuple):
    fields: tuple[_FieldRules, ...]
    oneofs: tuple[str, ...]  # one of whose fields has to be set
    by_number: Mapping[int, _FieldRules]
    needed: frozenset[int]  # fields that break a rule where they are not set
    is_any: bool


def violations(message: Message) -> tuple[str, ...]:
    """Return which constraints ``message`` breaks, each as a field's path and what is expected; also inside an ``Any``."""
    return () if is_valid(message) else tuple(walk(message, ""))


def violations_of_part(message: Message) -> tuple[str, ...]:
    """Return what is broken by what is set in ``message``, which is to be merged into another: that may have what is not set here."""
    return tuple(walk(message, "", partial=True))


def is_valid(message: Message) -> bool:
    """Return whether ``message`` breaks no constraint, as nearly all do: found out quickly, from the fields that are set."""
    rules = _message_rules(message.DESCRIPTOR)
    if rules.is_any:
        assert isinstance(message, AnyMessage)  # noqa: S101 - which is what has this descriptor
        return not any(_walk_any(message, ""))
    for oneof in rules.oneofs:
        if message.WhichOneof(oneof) is None:
            return False
    missing = len(rules.needed)
    by_number = rules.by_number
    for descriptor, value in message.ListFields():
        field = by_number.get(descriptor.number)
        if field is None:
            continue
        _, repeated, _, _, _, whole, per_item, descend, needed = field
        missing -= needed
        if repeated:
            if not _are_valid(whole, per_item, value, descend=descend):
                return False
            continue
        if (per_item and _broken(per_item, value)) or (descend and not is_valid(value)):
            return False
    return not missing


def _are_valid(
    whole: tuple[Check, ...], per_item: tuple[Check, ...], values: Mapping[object, Message] | Sequence[Message], *, descend: bool
) -> bool:
    if whole and _broken(whole, values):
        return False
    valid = _is_valid_again if len(values) >= _MANY else is_valid
    for item in values.values() if isinstance(values, Mapping) else values:
        if (per_item and _broken(per_item, item)) or (descend and not valid(item)):
            return False
    return True


def _is_valid_again(message: Message) -> bool:
    """Return whether ``message``, one of many, is valid: when one of them changes, the others are what they were."""
    content = (message.DESCRIPTOR.full_name, blake2b(message.SerializeToString(deterministic=True), digest_size=16).digest())
    if content in _VALID_CONTENTS:
        return True
    if not is_valid(message):
        return False
    _remember(content)
    return True


def _remember(content: tuple[str, bytes]) -> None:
    if len(_VALID_CONTENTS) >= _MAX_REMEMBERED:
        _VALID_CONTENTS.clear()
    _VALID_CONTENTS.add(content)


def _broken(checks: tuple[Check, ...], value: object) -> bool:
    for check in checks:  # noqa: SIM110 - `any` takes twice as long, of what is asked for each field of each message
        if check(value):
            return True
    return False


def walk(message: Message, path: str, *, partial: bool = False) -> Iterator[str]:
    """Yield which constraints ``message``, which stands at ``path``, breaks; ``partial``: what is not set breaks none."""
    if isinstance(message, AnyMessage):
        yield from _walk_any(message, path, partial=partial)
        return
    rules = _message_rules(message.DESCRIPTOR)
    there = {descriptor.name for descriptor, _ in message.ListFields()} if partial else frozenset()
    for oneof in rules.oneofs:
        if not partial and message.WhichOneof(oneof) is None:
            yield f"{path}{oneof}: expected one of its fields"
    for field in rules.fields:
        if partial and field.name not in there:
            continue
        if field.presence and not message.HasField(field.name):
            if field.required:
                yield f"{path}{field.name}: expected a value"
        elif field.repeated:
            yield from _walk_repeated(field, getattr(message, field.name), f"{path}{field.name}")
        else:
            yield from _walk_value(field, getattr(message, field.name), f"{path}{field.name}", partial=partial)


def _walk_repeated(field: _FieldRules, values: Iterable[object], path: str) -> Iterator[str]:
    yield from _violated(field.whole, values, path)
    if not (field.per_item or field.descend):
        return
    items = values.items() if isinstance(values, dict) or (field.keyed and hasattr(values, "items")) else enumerate(values)
    for index, item in items:
        yield from _walk_value(field, item, f"{path}[{index}]")


def _walk_value(field: _FieldRules, value: object, path: str, *, partial: bool = False) -> Iterator[str]:
    yield from _violated(field.per_item, value, path)
    if field.descend and isinstance(value, Message):
        yield from walk(value, f"{path}.", partial=partial)


def _violated(checks: Iterable[Check], value: object, path: str) -> Iterator[str]:
    for check in checks:
        if expected := check(value):
            yield f"{path}: expected {expected}"


def _walk_any(packed: AnyMessage, path: str, *, partial: bool = False) -> Iterator[str]:
    """Yield what is broken inside of ``packed``; what many messages have in them, and breaks nothing, is looked at once."""
    content = (packed.type_url, blake2b(packed.value, digest_size=16).digest())
    if content in _VALID_CONTENTS:
        return
    try:
        kind = symbol_database.Default().GetSymbol(packed.type_url.removeprefix(PREFIX))
    except KeyError:
        return
    broken = tuple(walk(kind.FromString(packed.value), f"{path}({packed.type_url.rpartition('.')[2]}).", partial=partial))
    if not broken and not partial:
        _remember(content)
    yield from broken


@cache
def _message_rules(descriptor: Descriptor) -> _MessageRules:
    oneofs = tuple(oneof.name for oneof in descriptor.oneofs if _is_required(oneof.GetOptions()))
    empty = message_factory.GetMessageClass(descriptor)()
    rules = {each.number: field for each in descriptor.fields if (field := _field_rules(each))}
    by_number = {number: field._replace(needed=_is_needed(field, empty)) for number, field in rules.items()}
    needed = frozenset(number for number, field in by_number.items() if field.needed)
    return _MessageRules(tuple(by_number.values()), oneofs, by_number, needed, descriptor.full_name == AnyMessage.DESCRIPTOR.full_name)


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
    descend = content is not None and not item_rules.message.skip and _has_rules_within(content)
    required = rules.message.required or bool(getattr(getattr(rules, kind, None), "required", False))
    required = required and field.containing_oneof is None  # of a choice, only what is chosen has to be there
    if not (whole or per_item or required or descend):
        return None
    presence = field.has_presence and not field.is_repeated
    return _FieldRules(field.name, field.is_repeated, keyed, required, presence, whole, per_item, descend, needed=False)


@cache
def _has_rules_within(descriptor: Descriptor) -> bool:
    """Return whether messages of ``descriptor``, or what can be in them, have any rules: of most there is no need to look inside."""
    pending, seen = [descriptor], {descriptor}
    while pending:
        current = pending.pop()
        if current.full_name == AnyMessage.DESCRIPTOR.full_name or any(_is_required(oneof.GetOptions()) for oneof in current.oneofs):
            return True
        for field in current.fields:
            if field.GetOptions().ListFields() and _rules_of(field.GetOptions()) != validate_pb2.FieldRules():
                return True
            if field.message_type is not None and field.message_type not in seen:
                seen.add(field.message_type)
                pending.append(field.message_type)
    return False
