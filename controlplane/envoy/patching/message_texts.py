"""What stands in a message, and in the messages that are packed in it."""

from __future__ import annotations

from collections.abc import Iterator

from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.message import Message

from controlplane.envoy.patching.message_types import message_class, type_name


def messages_in(message: Message) -> Iterator[Message]:
    """Yield ``message`` and every one in it."""
    pending = [message]
    while pending:
        current = pending.pop()
        yield current
        if isinstance(current, AnyMessage):
            kind = message_class(type_name(current.type_url))
            if kind is not None:
                pending.append(kind.FromString(current.value))
            continue
        for field, value in current.ListFields():
            if field.message_type is None:
                continue
            items = value.values() if field.message_type.GetOptions().map_entry else value if field.is_repeated else (value,)
            pending.extend(item for item in items if isinstance(item, Message))


def texts_in(message: Message) -> Iterator[str]:
    """Yield every text in ``message``."""
    for each in messages_in(message):
        for field, value in each.ListFields():
            if field.message_type is None:
                yield from (text for text in (value if field.is_repeated else (value,)) if isinstance(text, str))
