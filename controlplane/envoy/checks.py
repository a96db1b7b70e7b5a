"""Constraint rules as checks: each returns what was expected of a value, or ``None`` where it is fine."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Sized

import re2
from google.protobuf.duration_pb2 import Duration
from validate import validate_pb2

Check = Callable[[object], str | None]

_NUMBERS = frozenset(("float", "double", "int32", "int64", "uint32", "uint64", "sint32", "sint64", "fixed32", "fixed64"))
_COMPARISONS: dict[str, tuple[str, Callable[[float, float], bool]]] = {
    "gt": (">", operator.gt),
    "gte": (">=", operator.ge),
    "lt": ("<", operator.lt),
    "lte": ("<=", operator.le),
    "const": ("=", operator.eq),
}
_LINE_ENDS = "\0\r\n"


def value_checks(rules: validate_pb2.FieldRules) -> Iterator[Check]:
    """Yield the checks of one value."""
    kind = rules.WhichOneof("type") or ""
    if kind in _NUMBERS:
        yield from _number_checks(getattr(rules, kind))
    elif kind == "string":
        yield from _string_checks(rules.string)
    elif kind == "bytes":
        yield from _length_checks(rules.bytes, "bytes", ignore_empty=rules.bytes.ignore_empty)
    elif kind == "duration":
        yield from _duration_checks(rules.duration)
    elif kind == "bool" and rules.bool.HasField("const"):
        yield _bool_check(wanted=rules.bool.const)


def list_checks(rules: validate_pb2.RepeatedRules) -> Iterator[Check]:
    """Yield the checks of a list as a whole."""
    if rules.min_items:
        yield _min_size_check(rules.min_items, "items", ignore_empty=rules.ignore_empty)
    if rules.max_items:
        yield _max_size_check(rules.max_items, "items")


def map_checks(rules: validate_pb2.MapRules) -> Iterator[Check]:
    """Yield the checks of a map as a whole."""
    if rules.min_pairs:
        yield _min_size_check(rules.min_pairs, "entries", ignore_empty=rules.ignore_empty)


def _number_checks(rules: validate_pb2.UInt32Rules) -> Iterator[Check]:
    for name, (sign, holds) in _COMPARISONS.items():
        if rules.HasField(name):
            yield _comparison_check(getattr(rules, name), sign, holds, ignore_empty=rules.ignore_empty)


def _comparison_check(bound: float, sign: str, holds: Callable[[float, float], bool], *, ignore_empty: bool) -> Check:
    def check(value: object) -> str | None:
        number = getattr(value, "value", value)
        if not isinstance(number, int | float):
            return "a number"
        return None if (ignore_empty and not number) or holds(number, bound) else f"a number {sign} {bound}"

    return check


def _bool_check(*, wanted: bool) -> Check:
    def check(value: object) -> str | None:
        return None if bool(getattr(value, "value", value)) is wanted else str(wanted).lower()

    return check


def _string_checks(rules: validate_pb2.StringRules) -> Iterator[Check]:
    yield from _length_checks(rules, "characters", ignore_empty=rules.ignore_empty)
    if rules.pattern:
        yield _text_check(re2.compile(rules.pattern).search, f"text like {rules.pattern}", ignore_empty=rules.ignore_empty)
    if rules.prefix:
        yield _text_check(_has_prefix(rules.prefix), f"text that begins with {rules.prefix}", ignore_empty=rules.ignore_empty)
    if rules.WhichOneof("well_known") == "well_known_regex":
        yield _text_check(_is_one_line, "text without line ends", ignore_empty=True)


def _has_prefix(prefix: str) -> Callable[[str], bool]:
    def holds(text: str) -> bool:
        return text.startswith(prefix)

    return holds


def _is_one_line(text: str) -> bool:
    return not any(line_end in text for line_end in _LINE_ENDS)


def _text_check(holds: Callable[[str], object], expected: str, *, ignore_empty: bool) -> Check:
    def check(value: object) -> str | None:
        text = getattr(value, "value", value)
        return None if not isinstance(text, str) or (ignore_empty and not text) or holds(text) else expected

    return check


def _length_checks(rules: validate_pb2.StringRules | validate_pb2.BytesRules, unit: str, *, ignore_empty: bool) -> Iterator[Check]:
    least = max(rules.min_len, getattr(rules, "min_bytes", 0))
    if least:
        yield _min_size_check(least, unit, ignore_empty=ignore_empty)
    if most := rules.max_len or getattr(rules, "max_bytes", 0):
        yield _max_size_check(most, unit)


def _min_size_check(number: int, unit: str, *, ignore_empty: bool) -> Check:
    def check(value: object) -> str | None:
        size = _size(value)
        return None if size >= number or (ignore_empty and not size) else f"at least {number} {unit}"

    return check


def _max_size_check(number: int, unit: str) -> Check:
    def check(value: object) -> str | None:
        return None if _size(value) <= number else f"at most {number} {unit}"

    return check


def _size(value: object) -> int:
    content = getattr(value, "value", value)  # a wrapper, or the value itself
    return len(content) if isinstance(content, Sized) else 0


def _duration_checks(rules: validate_pb2.DurationRules) -> Iterator[Check]:
    for name, (sign, holds) in _COMPARISONS.items():
        if rules.HasField(name):
            yield _duration_check(getattr(rules, name), sign, holds)


def _duration_check(bound: Duration, sign: str, holds: Callable[[float, float], bool]) -> Check:
    nanoseconds = bound.ToNanoseconds()

    def check(value: object) -> str | None:
        long_enough = isinstance(value, Duration) and holds(value.ToNanoseconds(), nanoseconds)
        return None if long_enough else f"a duration {sign} {nanoseconds / 1e9:g}s"

    return check
