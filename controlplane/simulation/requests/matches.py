"""Whether a request fits what a route asks of its path, headers and query.

Regular expressions are RE2's, on the whole text, as Envoy has them.
https://www.envoyproxy.io/docs/envoy/latest/api-v3/config/route/v3/route_components.proto#config-route-v3-routematch
https://www.envoyproxy.io/docs/envoy/latest/api-v3/config/route/v3/route_components.proto#config-route-v3-headermatcher
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

import re2
from envoy.config.route.v3.route_components_pb2 import HeaderMatcher, QueryParameterMatcher, RouteMatch
from envoy.type.matcher.v3.string_pb2 import StringMatcher

_INTEGER = re.compile(r"\s*[+-]?[0-9]+\s*")
_CONNECT = "CONNECT"


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """The head of a request as routes see it: its path normalized, the names of its headers in lower case."""

    method: str
    scheme: str
    authority: str
    path: str
    headers: tuple[tuple[str, str], ...] = ()

    def value(self, name: str) -> str | None:
        """Return the value of the header ``name``, several joined by commas; ``None`` where there is none."""
        name = name.lower()
        own = {":method": self.method, ":authority": self.authority, "host": self.authority, ":path": self.path, ":scheme": self.scheme}
        if name in own:
            return own[name]
        found = [value for header, value in self.headers if header == name]
        return ",".join(found) if found else None


def misfit(match: RouteMatch, head: Head, *, ignores_parameters: bool = False) -> str:
    """Return what of ``match`` does not fit ``head``, in words; nothing where all does. What is drawn by chance is not asked here."""
    if not _path_fits(match, head, ignores_parameters=ignores_parameters):
        return "the path"
    if match.HasField("grpc") and not _is_grpc(head):
        return "that it is gRPC"
    for header in match.headers:
        if not header_fits(header, head):
            return f"the header {header.name}"
    for parameter in match.query_parameters:
        if not _parameter_fits(parameter, head.path):
            return f"the query parameter {parameter.name}"
    return ""


def _path_fits(match: RouteMatch, head: Head, *, ignores_parameters: bool) -> bool:
    if not head.path:  # only CONNECT has none
        return head.method == _CONNECT and match.HasField("connect_matcher")
    path = re.split("[?#]", head.path, maxsplit=1)[0]
    if ignores_parameters:
        path = path.partition(";")[0]
    sensitive = not match.HasField("case_sensitive") or match.case_sensitive.value
    folded = (lambda text: text) if sensitive else str.lower
    match match.WhichOneof("path_specifier"):
        case "prefix":
            return folded(path).startswith(folded(match.prefix))
        case "path":
            return folded(path) == folded(match.path)
        case "path_separated_prefix":
            prefix = folded(match.path_separated_prefix)
            return folded(path) == prefix or folded(path).startswith(f"{prefix}/")
        case "safe_regex":
            return re2.fullmatch(match.safe_regex.regex, path) is not None
        case "connect_matcher":
            return head.method == _CONNECT
        case _:
            return False


def _is_grpc(head: Head) -> bool:
    kind = head.value("content-type") or ""
    return kind == "application/grpc" or kind.startswith("application/grpc+")


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


def _value_fits(matcher: HeaderMatcher, kind: str | None, value: str) -> bool:
    match kind:
        case "string_match":
            return _text_fits(matcher.string_match, value)
        case "range_match":
            return _INTEGER.fullmatch(value) is not None and matcher.range_match.start <= int(value) < matcher.range_match.end
        case "present_match":
            return matcher.present_match
        case _:
            return kind is None or _text_fits(_text_matcher(matcher, kind), value)


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


def _text_fits(matcher: StringMatcher, text: str) -> bool:
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


def _parameter_fits(matcher: QueryParameterMatcher, path: str) -> bool:
    """Return whether the first parameter of this name in the query of ``path`` fits; nothing is decoded."""
    value = _parameter(matcher.name, path)
    match matcher.WhichOneof("query_parameter_match_specifier"):
        case "string_match":
            return value is not None and _text_fits(matcher.string_match, value)
        case "present_match":
            return (value is not None) is matcher.present_match
        case _:
            return value is not None


def _parameter(name: str, path: str) -> str | None:
    _, asks, query = path.partition("?")
    if not asks:
        return None
    pairs = (each.partition("=") for each in query.split("&"))
    return next((value for own, _, value in pairs if own == name), None)
