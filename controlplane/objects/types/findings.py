"""What is written in an object without effect: fields that nobody knows, and fields that are not translated yet."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import get_args, get_origin

from pydantic import BaseModel

from controlplane.objects.types.scalars import UnsupportedField


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing about the field ``path``, before it is known whose it is."""

    path: str
    code: str
    message: str
    fatal: bool = True


@dataclass(frozen=True, slots=True)
class _Field:
    inner: type[BaseModel] | None
    keyed: bool  # a map of `inner`
    not_yet: bool


def ineffective_fields(model: type[BaseModel], data: Mapping[str, object], path: str) -> Iterator[Finding]:
    """Yield what ``data``, which is to become a ``model``, says in vain below ``path``."""
    known = _fields(model)
    for name, value in data.items():
        at = f"{path}.{name}"
        if (field := known.get(name)) is None:
            yield Finding(at, "UnknownField", f"no such field; known are {', '.join(sorted(known))}", fatal=False)
            continue
        if field.not_yet and value not in (None, [], {}, ""):
            yield Finding(at, "NotTranslated", "this field is not translated yet: it has no effect", fatal=False)
        if field.inner is not None:
            yield from _below(field, field.inner, value, at)


def _below(field: _Field, inner: type[BaseModel], value: object, path: str) -> Iterator[Finding]:
    if isinstance(value, dict) and field.keyed:
        for name, each in value.items():
            if isinstance(each, dict):
                yield from ineffective_fields(inner, each, f"{path}.{name}")
    elif isinstance(value, dict):
        yield from ineffective_fields(inner, value, path)
    elif isinstance(value, list):
        for index, each in enumerate(value):
            if isinstance(each, dict):
                yield from ineffective_fields(inner, each, f"{path}[{index}]")


@cache
def _fields(model: type[BaseModel]) -> Mapping[str, _Field]:
    return {
        field.alias or name: _Field(*_inner(field.annotation), any(isinstance(each, UnsupportedField) for each in field.metadata))
        for name, field in model.model_fields.items()
    }


def _inner(annotation: object) -> tuple[type[BaseModel] | None, bool]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation, False
    keyed = get_origin(annotation) is Mapping or getattr(get_origin(annotation), "__name__", "") == "Mapping"
    for each in get_args(annotation):
        inner, below = _inner(each)
        if inner is not None:
            return inner, keyed or below
    return None, False
