"""From the conditions of VirtualServices to our own. To which proxies they apply is decided before, in ``virtual_services``."""

from __future__ import annotations

from collections.abc import Iterator

from controlplane.ir.matches import (
    AnyPath,
    ClaimMatch,
    ExactPath,
    HeaderMatch,
    PathMatch,
    PathPattern,
    QueryMatch,
    RequestMatch,
    StringPrefix,
)
from controlplane.ir.text import Exact, OptionalTextMatch, Pattern, Prefix, Present, TextMatch
from controlplane.objects.networking.claim_matches import claim_path, is_claim
from controlplane.objects.networking.virtual_service import HTTPMatchRequest, StringMatch

_ANY_VALUE = ("*", "")
_EVERY_VALUE = ".*"


def request_match(match: HTTPMatchRequest) -> RequestMatch:
    """Return the conditions of ``match`` on requests."""
    headers = list(_headers(match))
    return RequestMatch(
        path=_path(match.uri),
        ignore_case=match.ignore_uri_case,
        method=_optional(match.method) if match.method else None,
        scheme=_optional(match.scheme) if match.scheme else None,
        authority=_optional(match.authority) if match.authority else None,
        headers=tuple(header for header in headers if not is_claim(header.name)),
        query=tuple(QueryMatch(name, _optional(text)) for name, text in sorted(match.query_params.items())),
        claims=tuple(ClaimMatch(claim_path(header.name), header.text, header.invert) for header in headers if is_claim(header.name)),
    )


def text_match(match: StringMatch) -> TextMatch:
    """Return the condition ``match`` on a text that is present."""
    if match.exact is not None:
        return Exact(match.exact)
    if match.prefix is not None:
        return Prefix(match.prefix)
    return Pattern(match.regex or "")


def _optional(match: StringMatch) -> OptionalTextMatch:
    """Return the condition ``match`` on what may be missing: one that is empty, or matches anything, only requires presence."""
    if match.exact is None and match.prefix is None and match.regex in (None, *_ANY_VALUE):
        return Present()
    return text_match(match)


def _path(uri: StringMatch | None) -> PathMatch:
    if uri is None:
        return AnyPath()
    if uri.exact is not None:
        return ExactPath(uri.exact)
    if uri.prefix is not None:
        return StringPrefix(uri.prefix)
    return PathPattern(uri.regex or "")


def _headers(match: HTTPMatchRequest) -> Iterator[HeaderMatch]:
    """Yield the conditions on headers, sorted by name, first those that must hold; those on claims are written among them."""
    for headers, invert in ((match.headers, False), (match.without_headers, True)):
        for name, text in sorted(headers.items()):
            # A header that is missing counts as empty where it must not fit: what fits every value must not find it there.
            yield HeaderMatch(name, Present() if invert and text.regex == _EVERY_VALUE else _optional(text), invert)
