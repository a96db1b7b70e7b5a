"""What the fields of objects are made of: strict scalars, durations, maps that never change, and the base of every typed object.

Objects are written in JSON's types, as Kubernetes has them: ``"80"`` is not a number. A duration is written as in Go (``1m30s``) and kept
as whole milliseconds, a plain ``int``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Annotated, Never, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    SerializationInfo,
    Strict,
    WithJsonSchema,
)
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticCustomError

MAX_UINT32 = 2**32 - 1
MAX_INT32 = 2**31 - 1
MAX_PORT = 65535

_PART = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|μs|ms|s|m|h)", re.ASCII)
_MICROSECONDS = {"ns": 1e-3, "us": 1, "µs": 1, "μs": 1, "ms": 1_000, "s": 1_000_000, "m": 60_000_000, "h": 3_600_000_000}
_MAX_MICROSECONDS = MAX_UINT32 * 1e6


def milliseconds(value: object) -> int:
    """Return a Go duration such as ``1.5s`` or ``1m30s`` as whole milliseconds."""
    text = value if isinstance(value, str) and len(value) <= 64 else ""
    parts = _PART.findall(text)
    if text != "0" and (not parts or "".join(number + unit for number, unit in parts) != text):
        raise PydanticCustomError("duration", "expected a duration such as 1.5s, 100ms or 1h")
    total = sum(float(number) * _MICROSECONDS[unit] for number, unit in parts)
    if total > _MAX_MICROSECONDS or abs(total / 1000 - round(total / 1000)) > 1e-6:
        raise PydanticCustomError("duration_range", "expected a duration of whole milliseconds, below 136 years")
    return round(total / 1000)


def positive_milliseconds(value: object) -> int:
    """Return a Go duration as whole milliseconds, of which there must be at least one."""
    if total := milliseconds(value):
        return total
    raise PydanticCustomError("duration_range", "expected a duration of at least 1ms")


T = TypeVar("T")


class FrozenMap(dict[str, T]):
    """A map that nobody changes (its users see a ``Mapping``), and that may therefore be hashed."""

    def __hash__(self) -> int:  # type: ignore[override]  # a dict has none, because it may change
        """Return the same for equal maps."""
        return hash(frozenset(self.items()))


EMPTY_MAP: FrozenMap[Never] = FrozenMap()


def _frozen(value: Mapping[str, T]) -> Mapping[str, T]:
    return FrozenMap(value)


def _struct(value: object) -> str:
    if isinstance(value, dict):
        return json.dumps(value, sort_keys=True, separators=(",", ":"))
    raise PydanticCustomError("struct", "expected an object")


AS_WRITTEN = "as written"  # the context in which objects are dumped as their users write them, and not as they are kept


def _written_duration(value: int, info: SerializationInfo) -> object:
    if info.context != AS_WRITTEN:
        return value
    return f"{value // 1000}s" if value % 1000 == 0 else f"{value}ms"


def _written_struct(value: str, info: SerializationInfo) -> object:
    return json.loads(value) if info.context == AS_WRITTEN else value


# The JSON schemas of these in CRDs (the others follow from the types).
_DURATION: dict[str, object] = {"type": "string", "maxLength": 64, "format": "duration"}
_RULE = {"rule": "duration(self) >= duration('1ms')", "message": "expected a duration of at least 1ms, as 1.5s or 1h"}
_POSITIVE: dict[str, object] = {**_DURATION, "x-kubernetes-validations": [_RULE]}
_ANY_OBJECT: dict[str, object] = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}

Text = Annotated[str, Strict()]
Int = Annotated[int, Strict(), Field(ge=-MAX_INT32 - 1, le=MAX_INT32)]
UInt = Annotated[int, Strict(), Field(ge=0, le=MAX_UINT32)]
Long = Annotated[int, Strict(), Field(ge=0, le=2**63 - 1)]
Port = Annotated[int, Strict(), Field(ge=1, le=MAX_PORT)]
Bool = Annotated[bool, Strict()]
Double = Annotated[float, Strict(), Field(allow_inf_nan=False)]
_AsDuration = PlainSerializer(_written_duration)
Duration = Annotated[int, BeforeValidator(positive_milliseconds), WithJsonSchema(_POSITIVE), _AsDuration]  # milliseconds, from 1
DurationOrZero = Annotated[int, BeforeValidator(milliseconds), WithJsonSchema(_DURATION), _AsDuration]  # milliseconds, from 0
Texts = tuple[Text, ...]
Host = Annotated[str, Strict(), AfterValidator(str.lower)]  # names of hosts mean the same in any case: they are kept in lower case
Hosts = tuple[Host, ...]
Map = Annotated[Mapping[str, T], AfterValidator(_frozen)]
TextMap = Map[Text]
Struct = Annotated[
    str, BeforeValidator(_struct), WithJsonSchema(_ANY_OBJECT), PlainSerializer(_written_struct)
]  # an object of any fields, kept as JSON whose keys are sorted


class UnsupportedField:
    """Marks a field that is understood and checked, but has no effect yet: where it is set, a warning says so."""


Unsupported = Annotated[T, UnsupportedField()]


class Model(BaseModel):
    """A frozen part of an object, whose fields are written in lowerCamelCase."""

    model_config = ConfigDict(frozen=True, extra="ignore", alias_generator=to_camel, validate_default=False)
