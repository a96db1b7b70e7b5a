"""The conditions of a route."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from envoy.config.route.v3.route_components_pb2 import HeaderMatcher, QueryParameterMatcher, RouteMatch
from envoy.type.matcher.v3.regex_pb2 import RegexMatcher
from envoy.type.matcher.v3.string_pb2 import StringMatcher

from controlplane.objects.virtual_service import HTTPMatchRequest, StringMatch

_EVERY_PATH = "/"
_EVERY_VALUE = ("*", "")


def route_match(match: HTTPMatchRequest | None) -> RouteMatch:
    """Return the conditions of ``match``; ``None`` is every request."""
    if match is None:
        return RouteMatch(prefix=_EVERY_PATH)
    found = _path(match.uri)
    if match.ignore_uri_case:
        found.case_sensitive.value = False
    found.headers.extend(_header_matchers(match))
    found.query_parameters.extend(_query(name, each) for name, each in sorted(match.query_params.items()))
    return found


def takes_everything(match: HTTPMatchRequest | None) -> bool:
    """Return whether no request is left for a later route."""
    found = route_match(match)
    if found.headers or found.query_parameters:
        return False
    return found.prefix == _EVERY_PATH or found.safe_regex.regex in ("*", ".*", "/.*")


def string_matcher(match: StringMatch) -> StringMatcher:
    """Return the condition ``match`` on a string."""
    if match.exact is not None:
        return StringMatcher(exact=match.exact)
    if match.prefix is not None:
        return StringMatcher(prefix=match.prefix)
    return StringMatcher(safe_regex=RegexMatcher(regex=match.regex or ""))


def _path(uri: StringMatch | None) -> RouteMatch:
    if uri is None:
        return RouteMatch(prefix=_EVERY_PATH)
    if uri.exact is not None:
        return RouteMatch(path=uri.exact)
    if uri.prefix is not None:
        return RouteMatch(prefix=uri.prefix)
    return RouteMatch(safe_regex=RegexMatcher(regex=uri.regex or ""))


def _header_matchers(match: HTTPMatchRequest) -> Iterator[HeaderMatcher]:
    pseudo: Mapping[str, StringMatch | None] = {":authority": match.authority, ":method": match.method, ":scheme": match.scheme}
    for name, each in sorted(match.headers.items()):
        yield _header(name, each, invert=False)
    for name, each in sorted(match.without_headers.items()):
        yield _header(name, each, invert=True)
    for name, condition in pseudo.items():
        if condition is not None:
            yield _header(name, condition, invert=False)


def _header(name: str, match: StringMatch, *, invert: bool) -> HeaderMatcher:
    if match.exact is None and match.prefix is None and match.regex in (None, *_EVERY_VALUE):
        return HeaderMatcher(name=name, present_match=True, invert_match=invert)
    return HeaderMatcher(name=name, string_match=string_matcher(match), invert_match=invert)


def _query(name: str, match: StringMatch) -> QueryParameterMatcher:
    if match.exact is None and match.prefix is None and match.regex in (None, *_EVERY_VALUE):
        return QueryParameterMatcher(name=name, present_match=True)
    return QueryParameterMatcher(name=name, string_match=string_matcher(match))
