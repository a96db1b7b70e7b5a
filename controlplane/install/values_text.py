"""The values of an installation as text: how they are read, and how they are shown with what each is for."""

from __future__ import annotations

from collections.abc import Iterable

import yaml
from pydantic import ValidationError

from controlplane.errors import UserError
from controlplane.install.values import InstallValues
from controlplane.untyped import Json


class BadValues(UserError, ValueError):
    """Values that cannot be used; the message names them, and says what was expected."""


def read_values(text: str, chosen: Iterable[str]) -> InstallValues:
    """Return the values in the YAML ``text``, with those that are ``chosen`` one by one, as NAME=VALUE; raises BadValues."""
    found = _mapping(text)
    for each in chosen:
        name, equals, value = each.partition("=")
        if not equals:
            raise BadValues(f"--set {each}: expected NAME=VALUE")
        found[name.strip()] = _yaml(value, f"--set {name}")
    try:
        return InstallValues.model_validate(_coalesced(InstallValues().model_dump(mode="json", by_alias=True), found))
    except ValidationError as error:
        raise BadValues("; ".join(_words(each["loc"], each["msg"]) for each in error.errors())) from None


def values_text() -> str:
    """Return all values, with what holds where nothing is chosen, as YAML with comments."""
    standard = InstallValues().model_dump(mode="json", by_alias=True)
    lines = []
    for field in InstallValues.model_fields.values():
        name = field.alias or ""
        lines.append(f"# {name}: {field.description}\n{yaml.safe_dump({name: standard[name]}, sort_keys=False)}")
    return "\n".join(lines)


def _coalesced(standard: Json, found: Json) -> Json:
    """Return ``found`` with what it says nothing of as in ``standard``, at any depth; null takes away: as Helm does."""
    merged = {**standard, **found}
    for name, value in found.items():
        before = standard.get(name)
        if value is None:
            del merged[name]
        elif isinstance(before, dict) and isinstance(value, dict):
            merged[name] = _coalesced(before, value)
    return merged


def _mapping(text: str) -> Json:
    found = _yaml(text, "values")
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise BadValues("values: expected an object with the names of values")
    return found


def _yaml(text: str, what: str) -> object:
    try:
        found: object = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError) as error:
        raise BadValues(f"{what}: expected YAML: {' '.join(str(error).split())}") from None
    return found


def _words(place: tuple[str | int, ...], message: str) -> str:
    name = ".".join(map(str, place))
    names = ", ".join(field.alias or "" for field in InstallValues.model_fields.values())
    return f"{name}: there is no such value; expected one of {names}" if message.startswith("Extra inputs") else f"{name}: {message}"
