"""From JSON that a user wrote to one of Envoy's messages, with what is wrong with each field.

Field names may be written as Envoy's documentation has them, or in lowerCamelCase. What a ``TypedStruct`` holds is read as the message that
it names, so that it is checked and merged like any other; where that message, or a field of it, is not known here, it is passed on as it
is, and the proxy decides: proxies may know more than these classes do.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from difflib import get_close_matches
from functools import cache
from typing import Generic, NamedTuple, TypeVar

from google.protobuf import json_format
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from controlplane.envoy.packing import pack
from controlplane.envoy.patching.message_types import TYPED_STRUCTS, is_retired, message_class, type_name

M = TypeVar("M", bound=Message)
Trail = tuple[str, ...]  # names of fields, from the outermost message on; through an Any to the fields of what is in it
_ANY = AnyMessage.DESCRIPTOR.full_name
_WELL_KNOWN = "google.protobuf."
_MOST_FAULTS = 20
_SHOWN = 60  # characters of a value
_KNOWN = 12  # fields that are listed
_TEXTS = {
    FieldDescriptor.CPPTYPE_BOOL: "true or false",
    FieldDescriptor.CPPTYPE_STRING: "text",
    FieldDescriptor.CPPTYPE_FLOAT: "a number",
    FieldDescriptor.CPPTYPE_DOUBLE: "a number",
}
_WELL_KNOWN_TEXTS = {
    "UInt32Value": "a whole number",
    "UInt64Value": "a whole number",
    "Int32Value": "a whole number",
    "Int64Value": "a whole number",
    "DoubleValue": "a number",
    "FloatValue": "a number",
    "Duration": "a duration such as 1.5s",
    "BoolValue": "true or false",
    "StringValue": "text",
    "Timestamp": "a time such as 2026-01-31T12:00:00Z",
    "Struct": "an object",
}


class ValueFault(NamedTuple):
    """What is wrong with the field ``path`` of a value; ``passed_on``: nothing need be wrong, but it could not be checked."""

    path: str
    message: str
    passed_on: bool = False


class MessageReading(NamedTuple, Generic[M]):
    """A message as far as it could be read, and what is wrong with the rest.

    ``cleared`` are fields that were written with the value that they have when nobody sets them: the message does not show it.
    """

    message: M
    faults: tuple[ValueFault, ...]
    cleared: tuple[Trail, ...]


def read_message(kind: type[M], value: Mapping[str, object], path: str) -> MessageReading[M]:
    """Return the message of ``kind`` that ``value``, written at ``path``, says."""
    reader = _Reader()
    message = kind()
    reader.fill(message, value, path, ())
    return MessageReading(message, tuple(reader.faults[:_MOST_FAULTS]), tuple(reader.cleared))


class _Reader:
    """Reads one value; gathers what is wrong."""

    def __init__(self) -> None:
        self.faults: list[ValueFault] = []
        self.cleared: list[Trail] = []

    def fill(self, message: Message, value: object, path: str, trail: Trail | None) -> None:
        """Put ``value``, written at ``path``, into ``message``; ``trail`` leads to it from the outermost one, but for items of lists."""
        descriptor = message.DESCRIPTOR
        if descriptor.full_name == _ANY and isinstance(message, AnyMessage):
            self._fill_any(message, value, path, trail)
        elif descriptor.full_name.startswith(_WELL_KNOWN):
            self._parse(message, value, path, _WELL_KNOWN_TEXTS.get(descriptor.name, f"a {descriptor.name}"))
        elif not isinstance(value, dict):
            self._expected(path, "an object", value)
        else:
            self._fill_fields(message, value, path, trail)

    def _fill_fields(self, message: Message, value: Mapping[str, object], path: str, trail: Trail | None) -> None:
        fields = _fields(message.DESCRIPTOR)
        chosen: dict[str, str] = {}  # by the name of a choice: what was written of it
        for name, content in value.items():
            field = fields.get(name)
            field_path = f"{path}.{name}"
            if field is None:
                self.faults.append(ValueFault(field_path, _unknown_field(message, name)))
            elif content is None:
                continue
            elif field.containing_oneof and chosen.setdefault(field.containing_oneof.name, name) != name:
                one = chosen[field.containing_oneof.name]
                self.faults.append(ValueFault(field_path, f"expected at most one of {one}, {name}"))
            elif field.message_type and field.message_type.GetOptions().map_entry:
                self._fill_map(message, field, content, field_path)
            elif field.is_repeated:
                self._fill_list(message, field, content, field_path)
            elif field.message_type:
                inner = getattr(message, field.name)
                inner.SetInParent()
                self.fill(inner, content, field_path, None if trail is None else (*trail, field.name))
            else:
                self._fill_scalar(message, field, content, field_path)
                if trail is not None and not field.has_presence and getattr(message, field.name) == field.default_value:
                    self.cleared.append((*trail, field.name))

    def _fill_scalar(self, message: Message, field: FieldDescriptor, content: object, path: str) -> None:
        self._parse(message, {field.name: content}, path, _scalar_text(field), content)

    def _fill_list(self, message: Message, field: FieldDescriptor, content: object, path: str) -> None:
        if not isinstance(content, list):
            self._expected(path, "a list", content)
        elif field.message_type is None:
            for index, item in enumerate(content):
                single = type(message)()  # parsing a list takes away what was there
                self._parse(single, {field.name: [item]}, f"{path}[{index}]", _scalar_text(field), item)
                getattr(message, field.name).extend(getattr(single, field.name))
        else:
            items = getattr(message, field.name)
            for index, item in enumerate(content):
                self.fill(items.add(), item, f"{path}[{index}]", None)

    def _fill_map(self, message: Message, field: FieldDescriptor, content: object, path: str) -> None:
        value_field = field.message_type.fields_by_name["value"] if field.message_type else field
        if not isinstance(content, dict):
            self._expected(path, "an object", content)
            return
        for key, item in content.items():
            if value_field.message_type is None:
                single = type(message)()
                self._parse(single, {field.name: {key: item}}, f"{path}.{key}", _scalar_text(value_field), item)
                getattr(message, field.name).update(getattr(single, field.name))
            else:
                self.fill(getattr(message, field.name)[key], item, f"{path}.{key}", None)

    def _fill_any(self, message: AnyMessage, value: object, path: str, trail: Trail | None) -> None:
        if not isinstance(value, dict) or not isinstance(value.get("@type"), str):
            self.faults.append(ValueFault(f"{path}.@type", "expected an object with the type of the message in @type"))
            return
        name = type_name(str(value["@type"]))
        content = {field: inner for field, inner in value.items() if field != "@type"}
        kind = message_class(name)
        if kind is None:
            self.faults.append(ValueFault(f"{path}.@type", _unknown_type(name)))
        elif name in TYPED_STRUCTS:
            self._fill_from_struct(message, kind(), content, path, trail)
        elif name.startswith(_WELL_KNOWN):
            self._fill_packed(message, kind(), content.get("value", {}), path, trail)
        else:
            self._fill_packed(message, kind(), content, path, trail)

    def _fill_packed(self, message: AnyMessage, inner: Message, content: object, path: str, trail: Trail | None) -> None:
        self.fill(inner, content, path, trail)
        message.CopyFrom(pack(inner))

    def _fill_from_struct(
        self, message: AnyMessage, struct: Message, content: Mapping[str, object], path: str, trail: Trail | None
    ) -> None:
        """Put the message that a TypedStruct names into ``message``; where it, or a field of it, is not known here, the struct itself."""
        type_url = content.get("type_url", content.get("typeUrl", ""))
        inner, written = content.get("value") or {}, str(type_url)
        kind = message_class(type_name(written))
        if kind is not None and isinstance(inner, dict):
            reader = _Reader()
            typed = kind()
            reader.fill(typed, inner, f"{path}.value", trail)
            if not any(fault.message.startswith(_NO_FIELD) for fault in reader.faults):
                self.faults += reader.faults
                self.cleared += reader.cleared
                message.CopyFrom(pack(typed))
                return
            self.faults += [fault._replace(passed_on=True) for fault in reader.faults if fault.message.startswith(_NO_FIELD)]
        elif is_retired(type_name(written)):
            self.faults.append(ValueFault(f"{path}.type_url", _unknown_type(type_name(written))))
        else:
            self.faults.append(ValueFault(f"{path}.type_url", _unknown_type(type_name(written)), passed_on=True))
        self.fill(struct, content, path, None)
        message.CopyFrom(pack(struct))

    def _parse(self, message: Message, document: object, path: str, expected: str, shown: object = None) -> None:
        try:
            json_format.Parse(json.dumps(document), message)
        except (json_format.ParseError, ValueError, TypeError, AttributeError):  # which it is depends on what was written instead
            self._expected(path, expected, document if shown is None else shown)

    def _expected(self, path: str, expected: str, value: object) -> None:
        found = json.dumps(value, default=str)
        self.faults.append(ValueFault(path, f"expected {expected}, found {found if len(found) <= _SHOWN else found[:_SHOWN] + '…'}"))


_NO_FIELD = "no field "


@cache
def _fields(descriptor: Descriptor) -> Mapping[str, FieldDescriptor]:
    fields = {field.json_name: field for field in descriptor.fields}
    return fields | {field.name: field for field in descriptor.fields}


def _unknown_field(message: Message, name: str) -> str:
    known = sorted(field.name for field in message.DESCRIPTOR.fields)
    near = get_close_matches(name, known, n=1)
    hint = f"perhaps {near[0]} is meant" if near else f"known are {', '.join(known[:_KNOWN])}{', …' if len(known) > _KNOWN else ''}"
    return f"{_NO_FIELD}{name[:_SHOWN]} of {message.DESCRIPTOR.name}; {hint}"


def _unknown_type(name: str) -> str:
    if is_retired(name):
        return f"{name[:120]} is of the v2 API, which no supported Envoy takes: expected the same of v3"
    return f"no message {name[:120]!r} is known here; as xds.type.v3.TypedStruct it is passed on unchecked"


def _scalar_text(field: FieldDescriptor) -> str:
    if field.enum_type is not None:
        return f"one of {', '.join(value.name for value in field.enum_type.values[:_KNOWN])}"
    if field.type == FieldDescriptor.TYPE_BYTES:
        return "bytes in base64"
    return _TEXTS.get(field.cpp_type, "a whole number")
