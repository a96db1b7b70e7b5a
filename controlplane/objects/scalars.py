"""What the fields of objects are made of: strict scalars, durations, and the base of every typed object.

Objects are written in JSON's types, as Kubernetes has them: ``"80"`` is not a number. Durations are whole milliseconds.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, Strict
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticCustomError

MAX_UINT32 = 2**32 - 1
MAX_INT32 = 2**31 - 1

_PART = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)")
_MILLISECONDS = {"ns": 1e-6, "us": 1e-3, "µs": 1e-3, "ms": 1.0, "s": 1e3, "m": 6e4, "h": 3.6e6}


def milliseconds(value: object) -> int:
    """Return a Go duration such as ``1.5s`` or ``1m30s`` as whole milliseconds; an integer is milliseconds already."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str):
        text = value.removeprefix("-")
        parts = _PART.findall(text)
        if text == "0" or (parts and "".join(number + unit for number, unit in parts) == text):
            total = sum(float(number) * _MILLISECONDS[unit] for number, unit in parts)
            if abs(total) < MAX_UINT32 * 1e3 and abs(total - round(total)) < 1e-9:
                return -round(total) if value.startswith("-") else round(total)
            raise PydanticCustomError("duration", "expected a duration of whole milliseconds, below 136 years")
    raise PydanticCustomError("duration", "expected a duration such as 1.5s, 100ms or 1h")


Text = Annotated[str, Strict()]
Int = Annotated[int, Strict(), Field(ge=-MAX_INT32 - 1, le=MAX_INT32)]
UInt = Annotated[int, Strict(), Field(ge=0, le=MAX_UINT32)]
Long = Annotated[int, Strict(), Field(ge=0, le=2**63 - 1)]
Bool = Annotated[bool, Strict()]
Double = Annotated[float, Strict(), Field(allow_inf_nan=False)]
Duration = Annotated[int, BeforeValidator(milliseconds)]  # milliseconds
Texts = tuple[Text, ...]
TextMap = Mapping[str, Text]


class NotYet:
    """Marks a field that is understood and checked, but has no effect yet: where it is set, a warning says so."""


T = TypeVar("T")
Untranslated = Annotated[T, NotYet()]


class Model(BaseModel):
    """A frozen part of an object, whose fields are written in lowerCamelCase."""

    model_config = ConfigDict(frozen=True, extra="ignore", alias_generator=to_camel, validate_default=False)
