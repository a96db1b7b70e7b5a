"""What is written in an object without effect: unknown fields, and fields that are not translated yet."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import get_args, get_origin

from pydantic import BaseModel

from controlplane.objects.types.scalars import UnsupportedField


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing wrong with the field ``path``, before it is known of which object."""

    path: str
    code: str
    message: str
    fatal: bool = True


@dataclass(frozen=True, slots=True)
class _ModelField:
    inner: type[BaseModel] | None
    keyed: bool  # a map of `inner`
    unsupported: bool

    def is_set(self, value: object) -> bool:
        """Return whether ``value`` says anything: an empty message does that has no fields."""
        return value not in (None, [], {}, "") or (value == {} and self.inner is not None and not self.inner.model_fields)


def ineffective_fields(model: type[BaseModel], data: Mapping[str, object], path: str) -> Iterator[Finding]:
    """Yield what ``data``, which is to become a ``model``, has without effect below ``path``."""
    fields = _fields(model)
    for name, value in data.items():
        field_path = f"{path}.{name}"
        if (field := fields.get(name)) is None:
            yield Finding(field_path, "UnknownField", f"no such field; known are {', '.join(sorted(fields))}", fatal=False)
            continue
        if field.unsupported and field.is_set(value):
            yield Finding(field_path, "NotTranslated", "this field is not translated yet: it has no effect", fatal=False)
        if field.inner is not None:
            yield from _ineffective_below(field, field.inner, value, field_path)


def _ineffective_below(field: _ModelField, inner: type[BaseModel], value: object, path: str) -> Iterator[Finding]:
    if isinstance(value, dict) and field.keyed:
        for name, item in value.items():
            if isinstance(item, dict):
                yield from ineffective_fields(inner, item, f"{path}.{name}")
    elif isinstance(value, dict):
        yield from ineffective_fields(inner, value, path)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            if isinstance(item, dict):
                yield from ineffective_fields(inner, item, f"{path}[{index}]")


@cache
def _fields(model: type[BaseModel]) -> Mapping[str, _ModelField]:
    return {
        field.alias or name: _ModelField(*_inner(field.annotation), any(isinstance(mark, UnsupportedField) for mark in field.metadata))
        for name, field in model.model_fields.items()
    }


def _inner(annotation: object) -> tuple[type[BaseModel] | None, bool]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation, False
    keyed = get_origin(annotation) is Mapping or getattr(get_origin(annotation), "__name__", "") == "Mapping"
    for argument in get_args(annotation):
        inner, below = _inner(argument)
        if inner is not None:
            return inner, keyed or below
    return None, False
