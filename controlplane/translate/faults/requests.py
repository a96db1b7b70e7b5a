"""Faults in requests, as the filters that make them.

Which requests a fault is for, Envoy's fault filter can say itself: by their headers, and before they are sent by their cluster. Others
stand behind a matcher of headers. One of them says who calls: the certificate that the caller has shown, which the listener writes there as
the last, and takes away where none was shown. (A matcher that asks the connection for it does not come to an end where there is none, and
the filter behind it is passed by everybody.)
https://www.envoyproxy.io/docs/envoy/latest/configuration/http/http_filters/fault_filter
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple, assert_never

import re2
from envoy.config.core.v3.extension_pb2 import TypedExtensionConfig
from envoy.config.route.v3.route_components_pb2 import HeaderMatcher
from envoy.extensions.common.matching.v3.extension_matcher_pb2 import ExtensionWithMatcher
from envoy.extensions.filters.common.matcher.action.v3.skip_action_pb2 import SkipFilter
from envoy.extensions.filters.http.adaptive_concurrency.v3.adaptive_concurrency_pb2 import AdaptiveConcurrency
from envoy.extensions.filters.http.fault.v3.fault_pb2 import HTTPFault
from envoy.extensions.filters.http.local_ratelimit.v3.local_rate_limit_pb2 import LocalRateLimit
from envoy.extensions.filters.http.set_metadata.v3.set_metadata_pb2 import Config as SetMetadata
from envoy.type.matcher.v3.http_inputs_pb2 import HttpRequestHeaderMatchInput
from envoy.type.matcher.v3.regex_pb2 import RegexMatcher
from envoy.type.matcher.v3.string_pb2 import StringMatcher
from google.protobuf.message import Message
from xds.type.matcher.v3.matcher_pb2 import Matcher
from xds.type.matcher.v3.string_pb2 import StringMatcher as XdsStringMatcher

from controlplane.envoy.packing import pack, struct
from controlplane.model.faults.faults import ALL, DrillFault, HitRequests
from controlplane.model.faults.kinds import (
    AnswerGrpc,
    AnswerHttp,
    CloseConnections,
    DelayRequests,
    DistrustCallers,
    LimitRequests,
    LoseZone,
    PartCallers,
    RemoveInstances,
    SaturateInstances,
    SwallowRequests,
)
from controlplane.translate.addresses import LOAD_BALANCING, fraction, milliseconds
from controlplane.translate.faults.callers import CallerUri
from controlplane.translate.faults.chosen_endpoints import chosen_by

OF_REQUESTS: tuple[type[Message], ...] = (HTTPFault, LocalRateLimit, AdaptiveConcurrency, SetMetadata, ExtensionWithMatcher)
_STATISTICS = "drill"
CERTIFICATE = "x-forwarded-client-cert"


class FaultScope(NamedTuple):
    """Where one filter of a fault acts: on requests to ``cluster`` (at the caller), from ``callers`` (at the callee); all without."""

    cluster: str = ""
    callers: tuple[CallerUri, ...] | None = None


def request_filters(fault: DrillFault, scope: FaultScope) -> tuple[Message, ...]:
    """Return the filters that make ``fault`` within ``scope``, in the order in which requests pass them; of connections there are none."""
    match fault.kind:
        case DelayRequests(wait_ms) | SwallowRequests(wait_ms):
            filters: tuple[Message, ...] = (_delay(wait_ms, fault, scope),)
        case AnswerHttp(status):
            filters = (_fault(fault, scope, HTTPFault(abort={"http_status": status, "percentage": fraction(fault.per_million)})),)
        case AnswerGrpc(status):
            filters = (_fault(fault, scope, HTTPFault(abort={"grpc_status": status, "percentage": fraction(fault.per_million)})),)
        case LimitRequests() as limit:
            filters = (_behind(fault, scope, _limit(limit)),)
        case SaturateInstances() as busy:
            filters = (_behind(fault, scope, _concurrency(busy)), _delay(busy.wait_ms, fault, scope))
        case RemoveInstances() | LoseZone():
            filters = (
                SetMetadata(
                    metadata=[{"metadata_namespace": LOAD_BALANCING, "value": struct(chosen_by(fault.id)), "allow_overwrite": True}]
                ),
            )
        case CloseConnections() | PartCallers() | DistrustCallers():
            filters = ()
        case _:
            assert_never(fault.kind)
    return filters


def _delay(wait_ms: int, fault: DrillFault, scope: FaultScope) -> HTTPFault:
    return _fault(fault, scope, HTTPFault(delay={"fixed_delay": milliseconds(wait_ms), "percentage": fraction(fault.per_million)}))


def _fault(fault: DrillFault, scope: FaultScope, message: HTTPFault) -> HTTPFault:
    message.upstream_cluster = scope.cluster
    message.headers.extend(HeaderMatcher(name=name, string_match=text) for name, text in _conditions(fault.match, scope.callers))
    return message


def _conditions(match: HitRequests, callers: tuple[CallerUri, ...] | None) -> Iterable[tuple[str, StringMatcher]]:
    if callers is not None:
        uris = (re2.escape(caller.text) + ("[^,;]*" if caller.prefix else "") for caller in callers)
        yield CERTIFICATE, StringMatcher(safe_regex=RegexMatcher(regex=f".*;URI=(?:{'|'.join(uris)})"))
    for header in match.headers:
        yield header.name, StringMatcher(prefix=header.value) if header.prefix else StringMatcher(exact=header.value)
    if match.methods:
        yield ":method", _one_of(match.methods)
    if match.path_prefixes:
        yield ":path", _one_of(match.path_prefixes, ".*")


def _one_of(texts: tuple[str, ...], rest: str = "") -> StringMatcher:
    return StringMatcher(safe_regex=RegexMatcher(regex=f"(?:{'|'.join(map(re2.escape, texts))}){rest}"))


def _limit(limit: LimitRequests) -> LocalRateLimit:
    always = {"default_value": fraction(ALL)}
    bucket = {
        "max_tokens": limit.requests,
        "tokens_per_fill": {"value": limit.requests},
        "fill_interval": milliseconds(limit.per_ms),
    }
    return LocalRateLimit(
        stat_prefix=_STATISTICS, status={"code": limit.status}, token_bucket=bucket, filter_enabled=always, filter_enforced=always
    )


def _concurrency(busy: SaturateInstances) -> AdaptiveConcurrency:
    """Return a limit of just so many: Envoy's own adapts itself between a least and a most, which are the same here."""
    concurrency = {"value": busy.concurrency}
    return AdaptiveConcurrency(
        gradient_controller_config={
            "concurrency_limit_params": {"max_concurrency_limit": concurrency, "concurrency_update_interval": {"seconds": 1}},
            "min_rtt_calc_params": {"interval": {"seconds": 3600}, "request_count": {"value": 1}, "min_concurrency": concurrency},
        },
    )


def _behind(fault: DrillFault, scope: FaultScope, message: Message) -> Message:
    """Return ``message`` for those requests only that ``fault`` is for within ``scope``."""
    conditions = [
        _single("header", HttpRequestHeaderMatchInput(header_name=name), text) for name, text in _conditions(fault.match, scope.callers)
    ]
    return _unless_skipped(conditions, message)


def _single(name: str, taken: Message, text: StringMatcher) -> Matcher.MatcherList.Predicate:
    wanted = XdsStringMatcher.FromString(text.SerializeToString(deterministic=True))  # the same message, under another name
    if wanted.HasField("safe_regex"):
        wanted.safe_regex.google_re2.SetInParent()  # which is required here
    taking = TypedExtensionConfig(name=name, typed_config=pack(taken))
    return Matcher.MatcherList.Predicate(
        single_predicate={"input": {"name": taking.name, "typed_config": taking.typed_config}, "value_match": wanted}
    )


def _unless_skipped(conditions: list[Matcher.MatcherList.Predicate], message: Message) -> Message:
    if not conditions:
        return message
    all_of = conditions[0] if len(conditions) == 1 else Matcher.MatcherList.Predicate(and_matcher={"predicate": conditions})
    skipped = {"action": {"name": "skip", "typed_config": pack(SkipFilter())}}
    matcher = Matcher(matcher_list={"matchers": [{"predicate": {"not_matcher": all_of}, "on_match": skipped}]})
    return ExtensionWithMatcher(
        xds_matcher=matcher, extension_config=TypedExtensionConfig(name=message.DESCRIPTOR.name, typed_config=pack(message))
    )
