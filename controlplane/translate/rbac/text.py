"""Values as users write them: a text, ``prefix*``, ``*suffix``, or ``*`` for anything that is there."""

from __future__ import annotations

import re2
from envoy.type.matcher.v3.string_pb2 import StringMatcher

ANY = "*"


def matcher(value: str, *, ignore_case: bool = False) -> StringMatcher:
    """Return the condition that a text fits ``value``."""
    if value == ANY:
        return regex(".+")
    if value.startswith(ANY):
        return StringMatcher(suffix=value[1:], ignore_case=ignore_case)
    if value.endswith(ANY):
        return StringMatcher(prefix=value[:-1], ignore_case=ignore_case)
    return StringMatcher(exact=value, ignore_case=ignore_case)


def regex(text: str) -> StringMatcher:
    """Return the condition that a whole text fits the expression ``text``."""
    return StringMatcher(safe_regex={"regex": text})


def literal(value: str) -> str:
    """Return the expression for ``value`` itself."""
    return str(re2.escape(value))
