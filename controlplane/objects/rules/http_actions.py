"""What an HTTP route does with requests, and what that must keep to."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from controlplane.objects.names import is_header
from controlplane.objects.regex import fault
from controlplane.objects.review import Finding
from controlplane.objects.rules import common
from controlplane.objects.rules.http_match import string_match
from controlplane.objects.virtual_service import (
    CorsPolicy,
    HeaderOperations,
    Headers,
    HTTPDirectResponse,
    HTTPFaultInjection,
    HTTPRedirect,
    HTTPRetry,
    HTTPRewrite,
    HTTPRoute,
)

GRPC_STATUS = ("OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS", "PERMISSION_DENIED")
GRPC_STATUS += ("RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS")
GRPC_STATUS += ("UNAUTHENTICATED",)
MAX_BODY = 1 << 20
_METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "CONNECT", "OPTIONS", "TRACE", "*"))
_RETRY_ON = frozenset(
    (
        *("5xx", "gateway-error", "reset", "reset-before-request", "connect-failure", "envoy-ratelimited", "retriable-4xx", "refused-stream"),
        *("retriable-status-codes", "retriable-headers", "http3-post-connect-failure", "gateway-error"),
        *("cancelled", "deadline-exceeded", "internal", "resource-exhausted", "unavailable"),
    )
)
# Envoy's substitution: %NAME%, %NAME(ARGUMENT)% or %%. https://www.envoyproxy.io/docs/envoy/latest/configuration/observability/access_log/usage
_SUBSTITUTION = re.compile(r"%(%|[A-Z][A-Z0-9_]*(\([^%]*\))?(:\d+)?%)")


def check(path: str, route: HTTPRoute) -> Iterator[Finding]:
    """Yield what is wrong with what ``route`` does."""
    yield from common.durations(path, 0, timeout=route.timeout)
    yield from common.percent(f"{path}.mirrorPercent", route.mirror_percent)
    yield from common.percent(f"{path}.mirrorPercentage.value", route.mirror_percentage and route.mirror_percentage.value)
    if route.mirror and route.mirrors:
        yield common.conflict(f"{path}.mirrors", "expected one of mirror and mirrors, found both")
    for at, mirror in enumerate(route.mirrors):
        yield from common.percent(f"{path}.mirrors[{at}].percentage.value", mirror.percentage and mirror.percentage.value)
    yield from check_headers(f"{path}.headers", route.headers)
    if route.rewrite:
        yield from _rewrite(f"{path}.rewrite", route.rewrite, route.headers)
    if route.redirect:
        yield from _redirect(f"{path}.redirect", route.redirect)
    if route.direct_response:
        yield from _direct_response(f"{path}.directResponse", route.direct_response)
    if route.retries:
        yield from _retries(f"{path}.retries", route.retries)
    if route.fault:
        yield from _fault(f"{path}.fault", route.fault)
    if route.cors_policy:
        yield from _cors(f"{path}.corsPolicy", route.cors_policy)


def check_headers(path: str, headers: Headers | None) -> Iterator[Finding]:
    """Yield what is wrong with operations on headers."""
    for name, operations in (("request", headers and headers.request), ("response", headers and headers.response)):
        if operations:
            yield from _operations(f"{path}.{name}", operations)


def _operations(path: str, operations: HeaderOperations) -> Iterator[Finding]:
    given: Mapping[str, Mapping[str, str]] = {"set": operations.set, "add": operations.add}
    for action, values in given.items():
        for name, value in values.items():
            if not is_header(name):
                yield common.out_of_range(f"{path}.{action}", "the name of a header", name)
            if "%" in _SUBSTITUTION.sub("", value):
                yield common.out_of_range(f"{path}.{action}.{name}", "'%' as a substitution like %HOSTNAME%, or doubled", value)
            if any(ord(each) < 32 and each != "\t" for each in value):
                yield common.out_of_range(f"{path}.{action}.{name}", "a value without control characters", value)
    for at, name in enumerate(operations.remove):
        if not is_header(name) or name.startswith(":") or name.lower() == "host":
            yield common.out_of_range(f"{path}.remove[{at}]", "the name of a header that may be removed", name)


def _rewrite(path: str, rewrite: HTTPRewrite, headers: Headers | None) -> Iterator[Finding]:
    regex = rewrite.uri_regex_rewrite
    if not (rewrite.uri or rewrite.authority or regex):
        yield common.required(path, "one of uri, authority and uriRegexRewrite")
    if rewrite.uri and regex:
        yield common.conflict(path, "expected one of uri and uriRegexRewrite, found both")
    if regex and (wrong := fault(regex.match) if regex.match else "expected a regular expression"):
        yield Finding(f"{path}.uriRegexRewrite.match", common.OUT_OF_RANGE, wrong)
    sets = headers.request.set if headers and headers.request else {}
    if rewrite.authority and any(name.lower() in (":authority", "host") for name in sets):
        yield common.conflict(f"{path}.authority", "expected the authority to be set once: headers.request.set sets it too")


def _redirect(path: str, redirect: HTTPRedirect) -> Iterator[Finding]:
    if not any((redirect.uri, redirect.authority, redirect.prefix_rewrite, redirect.scheme, redirect.port, redirect.derive_port)):
        yield common.required(path, "one of uri, prefixRewrite, authority, scheme and port")
    if redirect.uri and redirect.prefix_rewrite:
        yield common.conflict(path, "expected one of uri and prefixRewrite, found both")
    if redirect.redirect_code and not 300 <= redirect.redirect_code <= 399:
        yield common.out_of_range(f"{path}.redirectCode", "a code from 300 to 399", redirect.redirect_code)
    elif redirect.redirect_code not in (0, 301, 302, 303, 307, 308):
        yield Finding(f"{path}.redirectCode", "NotTranslated", "Envoy has no redirect with this code: the route has no effect", fatal=False)
    if redirect.scheme not in ("", "http", "https"):
        yield common.out_of_range(f"{path}.scheme", "http or https", redirect.scheme)
    if redirect.port is not None and redirect.derive_port is not None:
        yield common.conflict(path, "expected one of port and derivePort, found both")
    yield from common.ports(f"{path}.port", redirect.port)


def _direct_response(path: str, response: HTTPDirectResponse) -> Iterator[Finding]:
    if not 200 <= response.status <= 599:
        yield common.out_of_range(f"{path}.status", "a status from 200 to 599", response.status)
    if response.body is None:
        return
    if response.body.string is not None and response.body.bytes is not None:
        yield common.conflict(f"{path}.body", "expected one of string and bytes, found both")
    size = len((response.body.string or "").encode()) + len(response.body.bytes or b"")
    if size > MAX_BODY:
        yield common.out_of_range(f"{path}.body", f"at most {MAX_BODY} bytes", size)


def _retries(path: str, retries: HTTPRetry) -> Iterator[Finding]:
    if retries.attempts < 0:
        yield common.out_of_range(f"{path}.attempts", "a number from 0", retries.attempts)
    others = (retries.per_try_timeout, retries.retry_on or None, retries.retry_remote_localities, retries.backoff)
    if retries.attempts == 0 and any(each is not None for each in others):
        yield common.conflict(f"{path}.attempts", "expected at least 1 attempt where other settings of retries are given")
    yield from common.durations(path, 1, perTryTimeout=retries.per_try_timeout, backoff=retries.backoff)
    for token in filter(None, (each.strip() for each in retries.retry_on.split(","))):
        if token not in _RETRY_ON and not (token.isdecimal() and 100 <= int(token) <= 599):
            yield common.out_of_range(f"{path}.retryOn", f"conditions such as {', '.join(sorted(_RETRY_ON)[:4])}, or a status", token)


def _fault(path: str, injected: HTTPFaultInjection) -> Iterator[Finding]:
    if injected.delay is None and injected.abort is None:
        yield common.required(path, "one of delay and abort")
    if delay := injected.delay:
        yield from common.percent(f"{path}.delay.percentage.value", delay.percentage and delay.percentage.value)
        yield from common.percent(f"{path}.delay.percent", delay.percent)
        if delay.fixed_delay is None and delay.exponential_delay is None:
            yield common.required(f"{path}.delay.fixedDelay", "a duration")
        yield from common.durations(f"{path}.delay", 1, fixedDelay=delay.fixed_delay, exponentialDelay=delay.exponential_delay)
    if abort := injected.abort:
        yield from common.percent(f"{path}.abort.percentage.value", abort.percentage and abort.percentage.value)
        said = [each for each in (abort.http_status, abort.grpc_status, abort.http2_error) if each is not None]
        if len(said) != 1:
            yield common.required(f"{path}.abort", "one of httpStatus and grpcStatus")
        if abort.http_status is not None and not 200 <= abort.http_status <= 599:
            yield common.out_of_range(f"{path}.abort.httpStatus", "a status from 200 to 599", abort.http_status)
        if abort.grpc_status is not None and abort.grpc_status not in GRPC_STATUS and not _is_grpc_code(abort.grpc_status):
            yield common.out_of_range(f"{path}.abort.grpcStatus", "a gRPC status such as UNAVAILABLE", abort.grpc_status)


def _is_grpc_code(text: str) -> bool:
    return text.isdecimal() and int(text) < len(GRPC_STATUS)


def _cors(path: str, policy: CorsPolicy) -> Iterator[Finding]:
    for at, origin in enumerate(policy.allow_origins):
        yield from string_match(f"{path}.allowOrigins[{at}]", origin)
    for at, method in enumerate(policy.allow_methods):
        if method not in _METHODS:
            yield common.out_of_range(f"{path}.allowMethods[{at}]", "an HTTP method", method)
    for name, headers in (("allowHeaders", policy.allow_headers), ("exposeHeaders", policy.expose_headers)):
        for at, header in enumerate(headers):
            if not is_header(header):
                yield common.out_of_range(f"{path}.{name}[{at}]", "the name of a header", header)
    yield from common.durations(path, 1, maxAge=policy.max_age)
