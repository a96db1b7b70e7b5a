"""What an HTTP route does with requests, and what that must keep to."""

from __future__ import annotations

from collections.abc import Iterator

from controlplane.objects.networking.rules.headers import check_authority, check_headers
from controlplane.objects.networking.rules.http_match import check_string_match
from controlplane.objects.networking.virtual_service import (
    Abort,
    CorsPolicy,
    Delay,
    HTTPDirectResponse,
    HTTPFaultInjection,
    HTTPRedirect,
    HTTPRetry,
    HTTPRewrite,
    HTTPRoute,
    Percent,
)
from controlplane.objects.types import rules
from controlplane.objects.types.findings import Finding
from controlplane.objects.types.names import METHODS, is_header

MAX_BODY = 1 << 20
GRPC_STATUS = (
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
)
# https://www.envoyproxy.io/docs/envoy/latest/configuration/http/http_filters/router_filter#x-envoy-retry-on
_RETRY_ON = frozenset(
    [
        "5xx",
        "gateway-error",
        "reset",
        "reset-before-request",
        "connect-failure",
        "envoy-ratelimited",
        "retriable-4xx",
        "refused-stream",
        "retriable-status-codes",
        "retriable-headers",
        "http3-post-connect-failure",
        "cancelled",
        "deadline-exceeded",
        "internal",
        "resource-exhausted",
        "unavailable",
    ]
)
# The registered ones. https://www.iana.org/assignments/http-status-codes
_STATUSES = frozenset((*range(100, 104), *range(200, 209), 226, *range(300, 309), *range(400, 419), *range(421, 427), 428, 429, 431, 451))
_SERVER_STATUSES = frozenset((*range(500, 509), 510, 511))
_REDIRECTS = (0, 301, 302, 303, 307, 308)


def check(path: str, route: HTTPRoute) -> Iterator[Finding]:
    """Yield what is wrong with what ``route`` does."""
    yield from _mirrors(path, route)
    yield from check_headers(f"{path}.headers", route.headers)
    yield from check_authority(path, route.rewrite, route.headers)
    if route.rewrite:
        yield from _rewrite(f"{path}.rewrite", route.rewrite)
    if route.redirect:
        yield from _redirect(f"{path}.redirect", route.redirect)
        yield from _swapped_prefix(path, route, route.redirect)
    if route.direct_response:
        yield from _direct_response(f"{path}.directResponse", route.direct_response)
    if route.retries:
        yield from _retries(f"{path}.retries", route.retries)
    if route.fault:
        yield from _fault(f"{path}.fault", route.fault)
    if route.cors_policy:
        yield from _cors(f"{path}.corsPolicy", route.cors_policy)


def _mirrors(path: str, route: HTTPRoute) -> Iterator[Finding]:
    yield from rules.percent(f"{path}.mirrorPercent", route.mirror_percent)
    yield from _percentage(f"{path}.mirrorPercentage", route.mirror_percentage)
    if route.mirror and route.mirrors:
        yield rules.conflict(f"{path}.mirrors", "expected one of mirror and mirrors, found both")
    for index, mirror in enumerate(route.mirrors):
        yield from _percentage(f"{path}.mirrors[{index}].percentage", mirror.percentage)


def _percentage(path: str, percentage: Percent | None) -> Iterator[Finding]:
    if percentage:
        yield from rules.percent(f"{path}.value", percentage.value)


def _rewrite(path: str, rewrite: HTTPRewrite) -> Iterator[Finding]:
    regex = rewrite.uri_regex_rewrite
    yield from rules.single_line(path, uri=rewrite.uri, authority=rewrite.authority)
    if not (rewrite.uri or rewrite.authority or regex):
        yield rules.required(path, "one of uri, authority and uriRegexRewrite")
    if rewrite.uri and regex:
        yield rules.conflict(path, "expected one of uri and uriRegexRewrite, found both")
    if regex and not (regex.match and regex.rewrite):
        yield rules.required(f"{path}.uriRegexRewrite", "both match and rewrite")
    elif regex:
        yield from rules.single_line(f"{path}.uriRegexRewrite", rewrite=regex.rewrite)
    if regex and regex.match:
        yield from rules.expression(f"{path}.uriRegexRewrite.match", regex.match)


def _redirect(path: str, redirect: HTTPRedirect) -> Iterator[Finding]:
    if not any((redirect.uri, redirect.authority, redirect.prefix_rewrite, redirect.scheme, redirect.port, redirect.derive_port)):
        yield rules.required(path, "one of uri, prefixRewrite, authority, scheme and port")
    if redirect.uri and redirect.prefix_rewrite:
        yield rules.conflict(path, "expected one of uri and prefixRewrite, found both")
    if redirect.redirect_code and not 300 <= redirect.redirect_code <= 399:
        yield rules.out_of_range(f"{path}.redirectCode", "a code from 300 to 399", redirect.redirect_code)
    elif redirect.redirect_code not in _REDIRECTS:
        yield rules.warning(f"{path}.redirectCode", "NotTranslated", "Envoy has no redirect with this code: the route has no effect")
    if redirect.scheme not in ("", "http", "https"):
        yield rules.out_of_range(f"{path}.scheme", "http or https", redirect.scheme)
    if redirect.port is not None and redirect.derive_port is not None:
        yield rules.conflict(path, "expected one of port and derivePort, found both")
    yield from rules.port_number(f"{path}.port", redirect.port)
    yield from rules.single_line(path, uri=redirect.uri, authority=redirect.authority, prefixRewrite=redirect.prefix_rewrite)


def _swapped_prefix(path: str, route: HTTPRoute, redirect: HTTPRedirect) -> Iterator[Finding]:
    """Yield which conditions of ``route`` have no prefix that ``redirect`` could swap."""
    for index, match in enumerate(route.match if redirect.prefix_rewrite else ()):
        if match.uri and match.uri.prefix is None:
            yield rules.conflict(f"{path}.redirect.prefixRewrite", f"expected a prefix at match[{index}].uri: there is no other to swap")


def _direct_response(path: str, response: HTTPDirectResponse) -> Iterator[Finding]:
    yield from _status(f"{path}.status", response.status)
    if response.body is None:
        return
    if response.body.string is not None and response.body.bytes is not None:
        yield rules.conflict(f"{path}.body", "expected one of string and bytes, found both")
    size = len((response.body.string or "").encode(errors="replace")) + len(response.body.bytes or b"")
    if size > MAX_BODY:
        yield rules.out_of_range(f"{path}.body", f"at most {MAX_BODY} bytes", size)


def _status(path: str, status: int) -> Iterator[Finding]:
    if not 200 <= status <= 599:
        yield rules.out_of_range(path, "a status from 200 to 599", status)


def _retries(path: str, retries: HTTPRetry) -> Iterator[Finding]:
    if retries.attempts < 0:
        yield rules.out_of_range(f"{path}.attempts", "a number from 0", retries.attempts)
    other_settings = (retries.per_try_timeout, retries.retry_on or None, retries.retry_remote_localities, retries.backoff)
    if retries.attempts == 0 and any(setting is not None for setting in other_settings):
        yield rules.conflict(f"{path}.attempts", "expected at least 1 attempt where other settings of retries are given")
    for token in filter(None, (condition.strip() for condition in retries.retry_on.split(","))):
        if token not in _RETRY_ON and not (
            token.isascii() and token.isdecimal() and len(token) == 3 and int(token) in _STATUSES | _SERVER_STATUSES
        ):
            yield rules.out_of_range(f"{path}.retryOn", "conditions such as 5xx, reset, connect-failure, or a status", token)


def _fault(path: str, injected: HTTPFaultInjection) -> Iterator[Finding]:
    if injected.delay is None and injected.abort is None:
        yield rules.required(path, "one of delay and abort")
    if injected.delay:
        yield from _delay(f"{path}.delay", injected.delay)
    if injected.abort:
        yield from _abort(f"{path}.abort", injected.abort)


def _delay(path: str, delay: Delay) -> Iterator[Finding]:
    yield from _percentage(f"{path}.percentage", delay.percentage)
    yield from rules.percent(f"{path}.percent", delay.percent)
    if delay.exponential_delay is not None:
        yield Finding(f"{path}.exponentialDelay", "NotSupported", "expected fixedDelay: Envoy has no exponential delay")
    elif delay.fixed_delay is None:
        yield rules.required(f"{path}.fixedDelay", "a duration")
    if not (delay.percentage.value if delay.percentage else delay.percent):
        yield _hits_nobody(path)


def _hits_nobody(path: str) -> Finding:
    return rules.warning(f"{path}.percentage", "Ineffective", "expected a percentage above 0: without one no request is hit")


def _abort(path: str, abort: Abort) -> Iterator[Finding]:
    yield from _percentage(f"{path}.percentage", abort.percentage)
    if not abort.percentage or not abort.percentage.value:
        yield _hits_nobody(path)
    statuses = [status for status in (abort.http_status, abort.grpc_status, abort.http2_error) if status is not None]
    if len(statuses) > 1:
        yield rules.conflict(path, "expected one of httpStatus and grpcStatus, found both")
    if not statuses:
        yield rules.required(path, "one of httpStatus and grpcStatus")
    if abort.http2_error is not None:
        yield Finding(f"{path}.http2Error", "NotSupported", "expected httpStatus or grpcStatus: Envoy cannot abort with an HTTP/2 error")
    if abort.http_status is not None:
        yield from _status(f"{path}.httpStatus", abort.http_status)
    if abort.grpc_status is not None and abort.grpc_status not in GRPC_STATUS:
        yield rules.out_of_range(f"{path}.grpcStatus", "the name of a gRPC status such as UNAVAILABLE", abort.grpc_status)


def _cors(path: str, policy: CorsPolicy) -> Iterator[Finding]:
    for index, origin in enumerate(policy.allow_origins):
        yield from check_string_match(f"{path}.allowOrigins[{index}]", origin)
        if origin.exact == "":
            yield rules.required(f"{path}.allowOrigins[{index}].exact", "an origin that is not empty")
    for index, method in enumerate(policy.allow_methods):
        if method not in (*METHODS, "*"):
            yield rules.out_of_range(f"{path}.allowMethods[{index}]", "an HTTP method", method)
    for name, headers in (("allowHeaders", policy.allow_headers), ("exposeHeaders", policy.expose_headers)):
        for index, header in enumerate(headers):
            if not is_header(header):
                yield rules.out_of_range(f"{path}.{name}[{index}]", "the name of a header", header)
    if policy.max_age is not None and policy.max_age % 1000:
        yield rules.out_of_range(f"{path}.maxAge", "whole seconds", f"{policy.max_age}ms")
