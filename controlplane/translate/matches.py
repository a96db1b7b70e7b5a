"""The conditions of a route."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from envoy.config.route.v3.route_components_pb2 import HeaderMatcher, QueryParameterMatcher, RouteMatch
from envoy.type.matcher.v3.metadata_pb2 import MetadataMatcher
from envoy.type.matcher.v3.regex_pb2 import RegexMatcher
from envoy.type.matcher.v3.string_pb2 import StringMatcher
from envoy.type.matcher.v3.value_pb2 import ValueMatcher

from controlplane.objects.networking.claim_matches import claim_path, is_claim
from controlplane.objects.networking.virtual_service import HTTPMatchRequest, StringMatch
from controlplane.translate.rbac.claims import claim_at, text_or_list

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
    found.dynamic_metadata.extend(_claim_matchers(match))
    found.query_parameters.extend(_query(name, each) for name, each in sorted(match.query_params.items()))
    return found


def takes_everything(found: RouteMatch) -> bool:
    """Return whether no request is left for a route after one with the conditions ``found``."""
    if found.headers or found.query_parameters or found.dynamic_metadata:
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
    for name, each, invert in _headers(match):
        if not is_claim(name):
            yield _header(name, each, invert=invert)
    for name, condition in pseudo.items():
        if condition is not None:
            yield _header(name, condition, invert=False)


def _claim_matchers(match: HTTPMatchRequest) -> Iterator[MetadataMatcher]:
    """Yield the conditions on claims: where no token was verified there are none, so that only their absence fits."""
    for name, each, invert in _headers(match):
        if is_claim(name):
            present = ValueMatcher(present_match=True)
            found = claim_at(claim_path(name), present if _is_presence(each) else text_or_list(string_matcher(each)))
            found.invert = invert
            yield found


def _headers(match: HTTPMatchRequest) -> Iterator[tuple[str, StringMatch, bool]]:
    """Yield the conditions on headers, sorted by name, and whether they are inverted."""
    for given, invert in ((match.headers, False), (match.without_headers, True)):
        for name, each in sorted(given.items()):
            yield name, each, invert


def _is_presence(match: StringMatch) -> bool:
    return match.exact is None and match.prefix is None and match.regex in (None, *_EVERY_VALUE)


def _header(name: str, match: StringMatch, *, invert: bool) -> HeaderMatcher:
    if _is_presence(match):
        return HeaderMatcher(name=name, present_match=True, invert_match=invert)
    return HeaderMatcher(name=name, string_match=string_matcher(match), invert_match=invert)


def _query(name: str, match: StringMatch) -> QueryParameterMatcher:
    if _is_presence(match):
        return QueryParameterMatcher(name=name, present_match=True)
    return QueryParameterMatcher(name=name, string_match=string_matcher(match))
