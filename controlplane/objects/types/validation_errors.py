"""What the typed models refuse, as findings for the user: the field's path, what was expected, what was found there."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from controlplane.objects.types.findings import Finding

MAX_SHOWN = 80
_MANY = 20
_WORDS = {
    "string_type": "expected a string",
    "int_type": "expected an integer",
    "float_type": "expected a number",
    "bool_type": "expected true or false",
    "model_type": "expected an object",
    "model_attributes_type": "expected an object",
    "mapping_type": "expected an object",
    "dict_type": "expected an object",
    "tuple_type": "expected a list",
    "extra_forbidden": "expected no field of this name",
    "missing": "expected a value: this field is required",
    "greater_than_equal": "expected at least {ge}",
    "less_than_equal": "expected at most {le}",
    "string_too_short": "expected at least {min_length} characters",
    "string_pattern_mismatch": "expected a text that matches {pattern}",
    "string_too_long": "expected at most {max_length} characters",
    "too_long": "expected at most {max_length} items",
    "too_short": "expected at least {min_length} items",
    "literal_error": "expected {expected}",
    "base64_decode": "expected base64",
}
# Models that little more than a number, or a text, is said by, and the field that it belongs in.
_OF_A_NUMBER = {"Percent": "value", "PortSelector": "number", "HTTPRetry": "attempts"}
_OF_A_TEXT = {
    "Destination": "host",
    "StringMatch": "exact",
    "Delegate": "name",
    "LoadBalancerSettings": "simple",
    **dict.fromkeys(("MutualTLS", "ClientTLSSettings", "ServerTLSSettings"), "mode"),
}
_RANGES = frozenset(
    (
        *("greater_than_equal", "less_than_equal", "too_long", "too_short", "finite_number", "literal_error"),
        *("string_too_long", "string_too_short", "string_pattern_mismatch"),
    )
)


def findings(error: ValidationError, *, shows: bool = True) -> Iterator[Finding]:
    """Yield what ``error`` says, a finding a field; of very many the first. Without ``shows`` no value that was found is shown."""
    for detail in error.errors(include_url=False)[:_MANY]:
        kind = detail["type"]
        actual = "" if kind == "missing" or not shows else f", found {for_message(detail['input'])}"
        code = "Required" if kind == "missing" else "OutOfRange" if kind in _RANGES or kind.endswith("_range") else "WrongType"
        yield Finding(field_path(detail["loc"]), code, f"{_expected(detail)}{actual}")


def _expected(detail: ErrorDetails) -> str:
    name, value = str(detail.get("ctx", {}).get("class_name", "")), detail["input"]
    if isinstance(value, str) and value.isascii() and value.isdecimal() and name in _OF_A_NUMBER:
        return f"expected {{{_OF_A_NUMBER[name]}: {value[:MAX_SHOWN]}}}"
    if isinstance(value, str) and name in _OF_A_TEXT:
        return f"expected {{{_OF_A_TEXT[name]}: {for_message(value)}}}"
    if isinstance(value, int | float) and not isinstance(value, bool) and name in _OF_A_NUMBER:
        return f"expected {{{_OF_A_NUMBER[name]}: {value!r}}}"
    template = _WORDS.get(detail["type"])
    return template.format_map(detail.get("ctx", {})) if template else detail["msg"].replace("Input should be", "expected")


def for_message(value: object) -> str:
    """Return ``value`` for a message: at most 80 characters, none of them a control character."""
    match value:
        case str():
            return repr(value[:MAX_SHOWN])[: MAX_SHOWN + 2]
        case None | bool():
            return {None: "null", True: "true", False: "false"}[value]
        case int() if abs(value) > 1 << 64:
            return "a number beyond 64 bits"
        case int() | float():
            return repr(value)
        case dict():
            return "an object"
        case list() | tuple():
            return "a list"
        case _:
            return type(value).__name__


def field_path(parts: tuple[int | str, ...]) -> str:
    """Return how the field at ``parts`` is written in messages."""
    path = ""
    for part in parts:
        if isinstance(part, int):
            path += f"[{part}]"
        elif not part.startswith(("constrained-", "function-")):
            path += f".{part}" if path else part
    return path
