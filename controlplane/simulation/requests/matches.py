"""Whether a request fits what a route asks of its path, headers and query.

Regular expressions are RE2's, on the whole text, as Envoy has them.
https://www.envoyproxy.io/docs/envoy/latest/api-v3/config/route/v3/route_components.proto#config-route-v3-routematch
"""

from __future__ import annotations

import re

import re2
from envoy.config.route.v3.route_components_pb2 import QueryParameterMatcher, RouteMatch

from controlplane.simulation.matching.head import Head
from controlplane.simulation.matching.headers import header_fits, header_in_words, named
from controlplane.simulation.matching.texts import in_words, text_fits

_CONNECT = "CONNECT"


def misfit(match: RouteMatch, head: Head, *, ignores_parameters: bool = False) -> str:
    """Return what of ``match`` does not fit ``head``, in words; nothing where all does. What is drawn by chance is not asked here."""
    if not _path_fits(match, head, ignores_parameters=ignores_parameters):
        return f"the path is {_path_of(head) or 'missing'}, and not {path_in_words(match)}"
    if match.HasField("grpc") and not _is_grpc(head):
        return "it is no gRPC"
    for header in match.headers:
        if not header_fits(header, head):
            value = head.value(header.name)
            found = "missing" if value is None else value or "empty"
            return f"{named(header.name)} is {found}, and not {header_in_words(header)}"
    for parameter in match.query_parameters:
        if not _parameter_fits(parameter, head.path):
            asked = in_words(parameter.string_match) if parameter.HasField("string_match") else "there"
            asked = "missing" if parameter.HasField("present_match") and not parameter.present_match else asked
            value = _parameter(parameter.name, head.path)
            return f"the query parameter {parameter.name} is {'missing' if value is None else value or 'empty'}, and not {asked}"
    return ""


def path_in_words(match: RouteMatch) -> str:
    """Return what ``match`` asks of the path, to be read after "is" or "is not"."""
    regardless = " (in any case)" if match.HasField("case_sensitive") and not match.case_sensitive.value else ""
    match match.WhichOneof("path_specifier"):
        case "prefix":
            return f"{match.prefix}*{regardless}"
        case "path":
            return f"{match.path}{regardless}"
        case "path_separated_prefix":
            return f"{match.path_separated_prefix} or below it{regardless}"
        case "safe_regex":
            return f"one that fits /{match.safe_regex.regex}/"
        case kind:
            return "that of CONNECT" if kind == "connect_matcher" else "what is not simulated"


def _path_of(head: Head) -> str:
    return re.split("[?#]", head.path, maxsplit=1)[0]


def _path_fits(match: RouteMatch, head: Head, *, ignores_parameters: bool) -> bool:
    if not head.path:  # only CONNECT has none
        return head.method == _CONNECT and match.HasField("connect_matcher")
    path = _path_of(head)
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


def _parameter_fits(matcher: QueryParameterMatcher, path: str) -> bool:
    """Return whether the first parameter of this name in the query of ``path`` fits; nothing is decoded."""
    value = _parameter(matcher.name, path)
    match matcher.WhichOneof("query_parameter_match_specifier"):
        case "string_match":
            return value is not None and text_fits(matcher.string_match, value)
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
