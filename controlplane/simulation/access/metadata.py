"""Whether what filters have left in the metadata of a request, claims of its token above all, fits what is asked.

https://www.envoyproxy.io/docs/envoy/latest/api-v3/type/matcher/v3/metadata.proto
"""

from __future__ import annotations

from envoy.type.matcher.v3.metadata_pb2 import MetadataMatcher
from envoy.type.matcher.v3.number_pb2 import DoubleMatcher
from envoy.type.matcher.v3.value_pb2 import ValueMatcher

from controlplane.simulation.access.facts import ConditionResult, Metadata
from controlplane.simulation.matching.texts import text_fits


def metadata_fits(matcher: MetadataMatcher, metadata: Metadata) -> ConditionResult:
    """Return whether ``matcher`` fits ``metadata``; not known where nothing is known of the filter that it is about."""
    path = [segment.key for segment in matcher.path]
    what = f"{'.'.join(path[1:] if path[:1] == ['payload'] else path)} of {matcher.filter}"
    if matcher.filter not in metadata:
        return ConditionResult(None, f"it depends on {what}, which is not known")
    value: object = metadata[matcher.filter]
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    fits = _fits(matcher.value, value) is not matcher.invert
    return ConditionResult(fits, f"{what} is {value}" if fits else f"{what} is {'missing' if value is None else value}, which does not fit")


def _fits(matcher: ValueMatcher, value: object) -> bool:
    match matcher.WhichOneof("match_pattern"), value:
        case "present_match", _:
            return (value is not None) is matcher.present_match
        case "string_match", str():
            return text_fits(matcher.string_match, value)
        case "list_match", list():
            return any(_fits(matcher.list_match.one_of, each) for each in value)
        case "or_match", _:
            return any(_fits(each, value) for each in matcher.or_match.value_matchers)
        case "bool_match", bool():
            return value is matcher.bool_match
        case "double_match", int() | float():
            return not isinstance(value, bool) and _number_fits(matcher.double_match, value)
        case pattern, _:
            return pattern == "null_match" and value is None


def _number_fits(matcher: DoubleMatcher, value: float) -> bool:
    if matcher.WhichOneof("match_pattern") == "range":
        return matcher.range.start <= value < matcher.range.end
    return value == matcher.exact
