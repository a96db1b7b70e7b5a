"""What is asked of any JSON value before it is read as an object: no depth, number or character that what comes later cannot bear."""

from __future__ import annotations

from collections.abc import Mapping

from controlplane.errors import UserError

MAX_DEPTH = 64
_MAX_INT = 2**63
# A null here is a condition that was lost: left out, a route would take requests, or a policy allow some, that it was not meant for.
# ``name[]`` are the items of the list ``name``.
_CONDITIONS = frozenset(
    (
        *("headers", "withoutHeaders", "queryParams"),
        *("rules[]", "from[]", "to[]", "when[]", "source", "operation", "jwtRules[]"),
        *("matchLabels", "mtls", "portLevelMtls", "customTags", "tagOverrides"),
    )
)


class InvalidJson(UserError):
    """A value that is not fit to be read: which field, and what was expected."""

    def __init__(self, message: str, path: str = "") -> None:
        """Say ``message`` of the field ``path``."""
        super().__init__(message)
        self.path = path

    def within(self, part: str) -> InvalidJson:
        """Return this error with ``part`` before its path."""
        separator = "." if self.path and not self.path.startswith("[") else ""
        return InvalidJson(str(self), f"{part}{separator}{self.path}")


def sanitized(value: Mapping[str, object]) -> dict[str, object]:
    """Return ``value`` without its null fields, which in Kubernetes are as good as absent; raises InvalidJson."""
    return _mapping(value, 0, keep_nulls=False)


def _mapping(mapping: Mapping[str, object], depth: int, *, keep_nulls: bool) -> dict[str, object]:
    if depth > MAX_DEPTH:
        raise InvalidJson(f"expected at most {MAX_DEPTH} levels")
    clean: dict[str, object] = {}
    for name, item in mapping.items():
        if item is None and not keep_nulls:
            continue
        try:
            clean[_text(name)] = _value(item, depth + 1, name)
        except InvalidJson as error:
            raise error.within(name if isinstance(name, str) else "") from None
    return clean


def _sequence(items: list[object], depth: int, name: str) -> list[object]:
    if depth > MAX_DEPTH:
        raise InvalidJson(f"expected at most {MAX_DEPTH} levels")
    clean = []
    for index, item in enumerate(items):
        try:
            clean.append(_value(item, depth + 1, f"{name}[]"))
        except InvalidJson as error:
            raise error.within(f"[{index}]") from None
    return clean


def _value(value: object, depth: int, name: str) -> object:
    match value:
        case str():
            return _text(value)
        case dict():
            return _mapping(value, depth, keep_nulls=name in _CONDITIONS)
        case list():
            return _sequence(value, depth, name)
        case None | bool():
            return value
        case int():
            if not -_MAX_INT <= value < _MAX_INT:
                raise InvalidJson("expected an integer that fits 64 bits")
            return value
        case float():
            return _number(value)
        case _:
            raise InvalidJson(f"expected a JSON value, found {type(value).__name__}")


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise InvalidJson("expected keys that are strings")
    if "\0" in value:
        raise InvalidJson("expected no NUL characters")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise InvalidJson("expected valid Unicode, found half of a surrogate pair") from None
    return value


def _number(value: float) -> float:
    """Return ``value``, as an integer where it is one: JSON does not tell 1 from 1.0."""
    if value - value != 0:
        raise InvalidJson("expected a finite number")
    return int(value) if value.is_integer() and abs(value) < _MAX_INT else value
