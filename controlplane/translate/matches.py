"""The conditions of a route."""

from __future__ import annotations

from collections.abc import Iterator
from typing import assert_never

from envoy.config.route.v3.route_components_pb2 import HeaderMatcher, QueryParameterMatcher, RouteMatch
from envoy.type.matcher.v3.metadata_pb2 import MetadataMatcher
from envoy.type.matcher.v3.regex_pb2 import RegexMatcher
from envoy.type.matcher.v3.string_pb2 import StringMatcher
from envoy.type.matcher.v3.value_pb2 import ValueMatcher

from controlplane.ir.matches import AnyPath, ClaimMatch, ExactPath, PathMatch, PathPattern, QueryMatch, RequestMatch, StringPrefix
from controlplane.ir.text import Exact, OptionalTextMatch, Pattern, Prefix, Present, TextMatch
from controlplane.translate.rbac.claims import claim_at, text_or_list

_EVERY_PATH = "/"


def route_match(match: RequestMatch) -> RouteMatch:
    """Return the conditions of ``match``."""
    conditions = _path(match.path)
    if match.ignore_case:
        conditions.case_sensitive.value = False
    conditions.headers.extend(_headers(match))
    conditions.dynamic_metadata.extend(_claim(claim) for claim in match.claims)
    conditions.query_parameters.extend(_query(parameter) for parameter in match.query)
    return conditions


def string_matcher(text: TextMatch) -> StringMatcher:
    """Return the condition ``text`` on a string."""
    match text:
        case Exact(literal):
            return StringMatcher(exact=literal)
        case Prefix(literal):
            return StringMatcher(prefix=literal)
        case Pattern(regex):
            return StringMatcher(safe_regex=RegexMatcher(regex=regex))
        case _:
            assert_never(text)


def _path(path: PathMatch) -> RouteMatch:
    match path:
        case AnyPath():
            return RouteMatch(prefix=_EVERY_PATH)
        case ExactPath(literal):
            return RouteMatch(path=literal)
        case StringPrefix(literal):
            return RouteMatch(prefix=literal)
        case PathPattern(regex):
            return RouteMatch(safe_regex=RegexMatcher(regex=regex))
        case _:
            assert_never(path)


def _headers(match: RequestMatch) -> Iterator[HeaderMatcher]:
    for header in match.headers:
        yield _header(header.name, header.text, invert=header.invert)
    for name, text in ((":authority", match.authority), (":method", match.method), (":scheme", match.scheme)):
        if text is not None:
            yield _header(name, text, invert=False)


def _header(name: str, text: OptionalTextMatch, *, invert: bool) -> HeaderMatcher:
    """Return the condition ``text`` on the header ``name``; inverted, a request without the header fits too."""
    if isinstance(text, Present):
        return HeaderMatcher(name=name, present_match=True, invert_match=invert)
    return HeaderMatcher(name=name, string_match=string_matcher(text), invert_match=invert, treat_missing_header_as_empty=invert)


def _claim(claim: ClaimMatch) -> MetadataMatcher:
    """Return the condition on a claim: where no token was verified there is none, so that only its absence fits."""
    text = claim.text
    wanted = ValueMatcher(present_match=True) if isinstance(text, Present) else text_or_list(string_matcher(text))
    matcher = claim_at(claim.path, wanted)
    matcher.invert = claim.invert
    return matcher


def _query(parameter: QueryMatch) -> QueryParameterMatcher:
    if isinstance(parameter.text, Present):
        return QueryParameterMatcher(name=parameter.name, present_match=True)
    return QueryParameterMatcher(name=parameter.name, string_match=string_matcher(parameter.text))
