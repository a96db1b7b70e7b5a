"""Merging a message into another, as protobuf does it: single fields are replaced, lists appended, maps joined by key.

It differs where that would surprise. A packed message is merged into one of the same type, and takes the place of one of another. A
duration, and a value that is wrapped so that it can be absent, take the place of what was there as a whole. And a field that was written
with the value that it has when nobody sets it gets that value.
"""

from __future__ import annotations

from collections.abc import Iterable

from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from controlplane.envoy.packing import pack
from controlplane.envoy.patching.json_values import Trail
from controlplane.envoy.patching.message_types import message_class, type_name

_JOINED = frozenset(("google.protobuf.Any", "google.protobuf.Struct"))  # of the well-known ones: the others are replaced as a whole
_WELL_KNOWN = "google.protobuf."


def merge(target: Message, patch: Message, cleared: Iterable[Trail] = (), *, replaces_lists: bool = False) -> None:
    """Merge ``patch`` into ``target``, and clear the fields ``cleared`` of it; ``replaces_lists``: lists are not appended to."""
    trails = tuple(cleared)
    for field, value in patch.ListFields():
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            _merge_map(target, field, value, replaces_lists=replaces_lists)
        elif field.is_repeated:
            if replaces_lists:
                target.ClearField(field.name)
            getattr(target, field.name).extend(value)
        elif isinstance(value, Message):
            inner = getattr(target, field.name)
            inner.SetInParent()
            below = tuple(trail[1:] for trail in trails if len(trail) > 1 and trail[0] == field.name)
            _merge_message(inner, value, below, replaces_lists=replaces_lists)
        else:
            setattr(target, field.name, value)
    for trail in trails:
        if len(trail) == 1:
            target.ClearField(trail[0])


def _merge_message(target: Message, patch: Message, cleared: tuple[Trail, ...], *, replaces_lists: bool) -> None:
    name = patch.DESCRIPTOR.full_name
    if isinstance(target, AnyMessage) and isinstance(patch, AnyMessage):
        _merge_packed(target, patch, cleared, replaces_lists=replaces_lists)
    elif name.startswith(_WELL_KNOWN) and name not in _JOINED:
        target.CopyFrom(patch)
    else:
        merge(target, patch, cleared, replaces_lists=replaces_lists)


def _merge_packed(target: AnyMessage, patch: AnyMessage, cleared: tuple[Trail, ...], *, replaces_lists: bool) -> None:
    kind = message_class(type_name(patch.type_url)) if target.type_url == patch.type_url else None
    if kind is None:
        target.CopyFrom(patch)
        return
    merged = kind.FromString(target.value)
    _merge_message(merged, kind.FromString(patch.value), cleared, replaces_lists=replaces_lists)
    target.CopyFrom(pack(merged))


def _merge_map(target: Message, field: FieldDescriptor, entries: object, *, replaces_lists: bool) -> None:
    items = entries.items() if hasattr(entries, "items") else ()
    joined = getattr(target, field.name)
    for key, value in items:
        if isinstance(value, AnyMessage) and key in joined:
            _merge_packed(joined[key], value, (), replaces_lists=replaces_lists)
        elif isinstance(value, Message):
            joined[key].CopyFrom(value)
        else:
            joined[key] = value
