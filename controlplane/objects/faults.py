"""What the typed models refuse, said to the user: the field's path, what was expected, what stood there."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import ValidationError

from controlplane.objects.review import Finding

_WORDS = {
    "string_type": "expected a string",
    "int_type": "expected an integer",
    "float_type": "expected a number",
    "bool_type": "expected true or false",
    "model_type": "expected an object",
    "model_attributes_type": "expected an object",
    "dict_type": "expected an object",
    "mapping_type": "expected an object",
    "tuple_type": "expected a list",
    "missing": "expected a value: this field is required",
}
_RANGES = frozenset(("greater_than_equal", "less_than_equal", "greater_than", "less_than", "too_long", "too_short", "string_too_long", "finite_number"))


def findings(error: ValidationError) -> Iterator[Finding]:
    """Yield what ``error`` says, a finding a field."""
    for each in error.errors(include_url=False):
        kind = each["type"]
        expected = _WORDS.get(kind) or each["msg"].replace("Input should be", "expected").replace("Value error, ", "")
        found = "" if kind == "missing" else f", found {shown(each['input'])}"
        code = "Required" if kind == "missing" else "OutOfRange" if kind in _RANGES else "WrongType"
        yield Finding(_path(each["loc"]), code, f"{expected}{found}")


def shown(value: object) -> str:
    """Return ``value`` for a message: at most 80 characters, none of them a control character."""
    return repr(value)[:80] if isinstance(value, str | int | float | bool) else {dict: "an object", list: "a list"}.get(type(value), type(value).__name__)


def _path(parts: tuple[int | str, ...]) -> str:
    path = ""
    for part in parts:
        if isinstance(part, int):
            path += f"[{part}]"
        elif not part.startswith(("constrained-", "function-")):
            path += f".{part}" if path else part
    return path
