"""Whether a text fits a ``StringMatcher``. Regular expressions are RE2's, on the whole text, as Envoy has them.

https://www.envoyproxy.io/docs/envoy/latest/api-v3/type/matcher/v3/string.proto
"""

from __future__ import annotations

import re2
from envoy.type.matcher.v3.string_pb2 import StringMatcher


def text_fits(matcher: StringMatcher, text: str) -> bool:
    """Return whether ``text`` fits ``matcher``."""
    folded = str.lower if matcher.ignore_case else (lambda value: value)
    match matcher.WhichOneof("match_pattern"):
        case "exact":
            return folded(text) == folded(matcher.exact)
        case "prefix":
            return folded(text).startswith(folded(matcher.prefix))
        case "suffix":
            return folded(text).endswith(folded(matcher.suffix))
        case "contains":
            return folded(matcher.contains) in folded(text)
        case "safe_regex":
            return re2.fullmatch(matcher.safe_regex.regex, text) is not None
        case _:
            return False


def in_words(matcher: StringMatcher) -> str:
    """Return what ``matcher`` asks of a text, to be read after "is", "is not" or "whose ... is"."""
    regardless = " (in any case)" if matcher.ignore_case else ""
    match matcher.WhichOneof("match_pattern"):
        case "exact":
            return f"{matcher.exact or 'empty'}{regardless}"
        case "prefix":
            return f"{matcher.prefix}*{regardless}"
        case "suffix":
            return f"*{matcher.suffix}{regardless}"
        case "contains":
            return f"*{matcher.contains}*{regardless}"
        case "safe_regex":
            return "there" if matcher.safe_regex.regex == ".+" else f"one that fits /{matcher.safe_regex.regex}/"
        case _:
            return "what is not simulated"
