"""What the conditions of an HTTP route must keep to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from controlplane.objects.names import is_dns_label, is_header
from controlplane.objects.regex import fault
from controlplane.objects.review import Finding
from controlplane.objects.rules import common
from controlplane.objects.virtual_service import HTTPMatchRequest, HTTPRoute, StringMatch


def check_match(path: str, match: HTTPMatchRequest) -> Iterator[Finding]:
    """Yield what is wrong with the conditions ``match``."""
    for name, each in (("uri", match.uri), ("scheme", match.scheme), ("method", match.method), ("authority", match.authority)):
        if each is not None:
            yield from string_match(f"{path}.{name}", each)
    yield from _headers(f"{path}.headers", match.headers)
    yield from _headers(f"{path}.withoutHeaders", match.without_headers)
    for name, each in match.query_params.items():
        if not name:
            yield common.required(f"{path}.queryParams", "names that are not empty")
        yield from string_match(f"{path}.queryParams.{name}", each)
    if match.port:
        yield from common.ports(f"{path}.port", match.port)
    yield from common.labels(f"{path}.sourceLabels", match.source_labels)
    if match.source_namespace and not is_dns_label(match.source_namespace):
        yield common.out_of_range(f"{path}.sourceNamespace", "a namespace", match.source_namespace)
    if match == HTTPMatchRequest() and match.model_fields_set:
        yield common.required(path, "a condition that is not empty")


def string_match(path: str, match: StringMatch, *, may_be_empty: bool = False) -> Iterator[Finding]:
    """Yield what is wrong with the condition ``match`` on a string."""
    given = {name: value for name in ("exact", "prefix", "regex") if (value := getattr(match, name)) is not None}
    if len(given) > 1:
        yield common.conflict(path, f"expected one of {' and '.join(given)}, found both")
    if not given and not may_be_empty:
        yield common.required(path, "one of exact, prefix and regex")
    if given.get("prefix") == "" and not may_be_empty:
        yield common.required(f"{path}.prefix", "a prefix that is not empty")
    if match.regex is not None and (wrong := fault(match.regex)):
        yield Finding(f"{path}.regex", common.OUT_OF_RANGE, wrong)


def _headers(path: str, headers: Mapping[str, StringMatch]) -> Iterator[Finding]:
    for name, each in headers.items():
        if not name.startswith("@request.auth.claims") and not is_header(name):
            yield common.out_of_range(path, "the name of a header", name)
        if each == StringMatch():
            continue  # the header has to be there, whatever its value
        yield from string_match(f"{path}.{name}", each)


def fallthrough(routes: Sequence[HTTPRoute]) -> Iterator[Finding]:
    """Yield, as warnings, the routes behind one that takes every request: no request ever comes to them."""
    for at, route in enumerate(routes[:-1]):
        if not route.match:
            yield Finding(f"spec.http[{at + 1}]", "Unreachable", f"spec.http[{at}] takes every request", fatal=False)
            return
