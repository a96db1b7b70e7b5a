"""What the conditions of an HTTP route must keep to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from controlplane.objects.networking.claim_matches import claim_path, is_claim
from controlplane.objects.networking.rules.ineffective.conditions import impossible_conditions
from controlplane.objects.networking.virtual_service import HTTPMatchRequest, StringMatch
from controlplane.objects.types import rules
from controlplane.objects.types.findings import Finding
from controlplane.objects.types.names import is_header, is_label


def check_match(path: str, match: HTTPMatchRequest, *, claims: bool) -> Iterator[Finding]:
    """Yield what is wrong with the conditions ``match``; ``claims`` allows those on a token, which only gateways know."""
    texts = (("uri", match.uri), ("scheme", match.scheme), ("method", match.method), ("authority", match.authority))
    for name, condition in texts:
        if condition is not None:
            yield from check_string_match(f"{path}.{name}", condition, any_prefix=name == "uri")
    yield from _headers(f"{path}.headers", match.headers, claims=claims)
    any_value = StringMatch(regex="*")  # no expression, but what Istio takes for "whatever it is" here
    without = {name: StringMatch() if condition == any_value else condition for name, condition in match.without_headers.items()}
    yield from _headers(f"{path}.withoutHeaders", without, claims=claims)
    for name, parameter in match.query_params.items():
        if not name:
            yield rules.required(f"{path}.queryParams", "names that are not empty")
        yield from _check_presence_or_match(f"{path}.queryParams.{name}", parameter)
    if match.port:
        yield from rules.port_number(f"{path}.port", match.port)
    yield from rules.labels(f"{path}.sourceLabels", match.source_labels)
    yield from rules.gateways(f"{path}.gateways", match.gateways)
    if match.source_namespace and not is_label(match.source_namespace):
        yield rules.out_of_range(f"{path}.sourceNamespace", "a namespace", match.source_namespace)
    if match.gateways and (match.source_labels or match.source_namespace):
        names = "gateways: beside them sourceLabels and sourceNamespace have no effect, as in Istio"
        yield rules.warning(f"{path}.gateways", "Ineffective", f"expected no {names}")
    yield from impossible_conditions(path, match)
    if match.model_fields_set and match == HTTPMatchRequest():
        # A condition whose value was lost on the way (`headers: {a: null}`) must not become one that takes everything.
        yield rules.required(path, "a condition that is not empty")


def check_string_match(path: str, match: StringMatch, *, any_prefix: bool = False) -> Iterator[Finding]:
    """Yield what is wrong with the condition ``match`` on a string; ``any_prefix`` allows the empty one, which everything has."""
    kinds = [name for name in ("exact", "prefix", "regex") if getattr(match, name) is not None]
    if len(kinds) > 1:
        yield rules.conflict(path, f"expected one of {' and '.join(kinds)}, found both")
    if not kinds:
        yield rules.required(path, "one of exact, prefix and regex")
    if match.prefix == "" and not any_prefix:
        yield rules.required(f"{path}.prefix", "a prefix that is not empty")
    if match.regex == "":
        yield rules.required(f"{path}.regex", "a regular expression that is not empty")
    elif match.regex is not None:
        yield from rules.expression(f"{path}.regex", match.regex)


def _check_presence_or_match(path: str, match: StringMatch) -> Iterator[Finding]:
    """Yield what is wrong with ``match``: empty, it asks only that the header or parameter is there."""
    if match != StringMatch():
        yield from check_string_match(path, match)


def _headers(path: str, headers: Mapping[str, StringMatch], *, claims: bool) -> Iterator[Finding]:
    for name, match in headers.items():
        if is_claim(name):
            if not claim_path(name):
                yield rules.out_of_range(path, "a claim such as @request.auth.claims.a.b or @request.auth.claims[a][b]", name)
            elif not claims:
                yield rules.conflict(f"{path}.{name}", "expected a gateway: only gateways route by the claims of a token")
        elif not is_header(name):
            yield rules.out_of_range(path, "the name of a header", name)
        yield from _check_presence_or_match(f"{path}.{name}", match)
