"""Whether a request's headers fit what is asked of them.

https://www.envoyproxy.io/docs/envoy/latest/api-v3/config/route/v3/route_components.proto#config-route-v3-headermatcher
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from envoy.config.route.v3.route_components_pb2 import HeaderMatcher
from envoy.type.matcher.v3.string_pb2 import StringMatcher

from controlplane.simulation.matching.head import Head
from controlplane.simulation.matching.texts import in_words, text_fits

_PSEUDO = {":method": "method", ":authority": "host", ":path": "path", ":scheme": "scheme"}
_INTEGER = re.compile(r"\s*[+-]?[0-9]+\s*")


def headers_fit(matchers: Iterable[HeaderMatcher], head: Head) -> bool:
    """Return whether all ``matchers`` fit ``head``."""
    return all(header_fits(matcher, head) for matcher in matchers)


def header_fits(matcher: HeaderMatcher, head: Head) -> bool:
    """Return whether ``matcher`` fits ``head``.

    A header that is missing fits no value, and no inverted one either, unless ``treat_missing_header_as_empty`` makes an empty one of it.
    """
    value = head.value(matcher.name)
    kind = matcher.WhichOneof("header_match_specifier")
    if value is None and not matcher.treat_missing_header_as_empty:
        if kind == "present_match" or kind is None:
            present = matcher.present_match if kind else True
            return present is matcher.invert_match
        return False
    return _value_fits(matcher, kind, value or "") is not matcher.invert_match


def named(name: str) -> str:
    """Return what the header ``name`` is called where people read it."""
    return f"the {_PSEUDO[name.lower()]}" if name.lower() in _PSEUDO else f"the header {name}"


def header_in_words(matcher: HeaderMatcher) -> str:
    """Return what ``matcher`` asks of its header, to be read after "is" or "is not"."""
    kind = matcher.WhichOneof("header_match_specifier")
    match kind:
        case "string_match":
            asked = in_words(matcher.string_match)
        case "range_match":
            asked = f"from {matcher.range_match.start} to below {matcher.range_match.end}"
        case "present_match":
            asked = "there" if matcher.present_match else "missing"
        case _:
            asked = in_words(_text_matcher(matcher, kind)) if kind else "there"
    return f"anything but {asked}" if matcher.invert_match else asked


def _value_fits(matcher: HeaderMatcher, kind: str | None, value: str) -> bool:
    match kind:
        case "string_match":
            return text_fits(matcher.string_match, value)
        case "range_match":
            return _INTEGER.fullmatch(value) is not None and matcher.range_match.start <= int(value) < matcher.range_match.end
        case "present_match":
            return matcher.present_match
        case _:
            return kind is None or text_fits(_text_matcher(matcher, kind), value)


def _text_matcher(matcher: HeaderMatcher, kind: str) -> StringMatcher:
    """Return the deprecated way to write ``matcher``, of ``kind``, as it is written today; an empty exact value fits every one."""
    match kind:
        case "exact_match":
            return StringMatcher(exact=matcher.exact_match) if matcher.exact_match else StringMatcher(prefix="")
        case "safe_regex_match":
            return StringMatcher(safe_regex=matcher.safe_regex_match)
        case "prefix_match":
            return StringMatcher(prefix=matcher.prefix_match)
        case "suffix_match":
            return StringMatcher(suffix=matcher.suffix_match)
        case _:
            return StringMatcher(contains=matcher.contains_match)
