"""The configuration of extensions, which stands in messages of ``Any`` type."""

from __future__ import annotations

from typing import TypeVar

from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.message import Message

_Config = TypeVar("_Config", bound=Message)


def holds(config: AnyMessage, kind: type[Message]) -> bool:
    """Return whether ``config`` is of ``kind``."""
    return config.type_url.rpartition("/")[2] == kind.DESCRIPTOR.full_name


def unpacked(config: AnyMessage, kind: type[_Config]) -> _Config | None:
    """Return ``config`` if it is of ``kind``."""
    return kind.FromString(config.value) if holds(config, kind) else None
