"""Formats of access logs: what Envoy accepts and refuses, as tried with every supported one."""

from __future__ import annotations

import pytest

from controlplane.model.access_logs.formats import MAX_LENGTH, format_for, format_problem, newest_operator
from controlplane.model.envoy_versions import EnvoyVersion


def no_regex_problem(pattern: str) -> str | None:
    return f"expected another regular expression, found {pattern}" if pattern == "a(" else None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "100%% sure",
        "%REQ(X?Y)% %REQ(:PATH)% %REQ(x):10% %REQ_WITHOUT_QUERY(:PATH)%",
        "%START_TIME(%Y/%m/%dT%H:%M:%S%z %s)% %START_TIME%",
        "%METADATA(ROUTE:istio:config)% %CLUSTER_METADATA(istio:config)% %DYNAMIC_METADATA(a:b)%",
        "%FILTER_STATE(a)% %FILTER_STATE(a:PLAIN):10% %FILTER_STATE(a:FIELD:x)% %FILTER_STATE(a:)%",
        '%CEL(size(request.path) > 1 ? "a)" : "b")%',
        "%PATH% %PATH(NQ)% %QUERY_PARAMS(ORIG)% %GRPC_STATUS(CAMEL_STRING)% %COMMON_DURATION(DS_RX_BEG:DS_RX_END:ms)%",
    ],
)
def test_what_envoy_accepts_is_accepted(text: str) -> None:
    assert format_problem(text, no_regex_problem) is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("100% sure", "found '% sure'"),
        ("%NOTHING%", "found '%NOTHING%'"),
        ("%protocol%", "or %% for a percent sign"),
        ("%PROTOCOL", "found '%PROTOCOL'"),
        ("%PROTOCOL(x)%", "found '%PROTOCOL(x)%'"),
        ("%REQ(a?b?c)%", "expected the name of a header, or NAME?OTHER"),
        ("%REQ(a\nb)%", "expected the name of a header"),
        ("%REQ(a b)%", "expected the name of a header"),
        ("%REQ()%", "expected the name of a header"),
        ("%FILTER_STATE(a:plain)%", "expected KEY:PLAIN"),
        ("%FILTER_STATE(a:FIELD)%", "expected KEY:PLAIN"),
        ("%METADATA(FOO:a)%", "expected CLUSTER, DYNAMIC"),
        ("%CLUSTER_METADATA(a):5%", "expected no length"),
        ("%COMMON_DURATION(x)%", "expected START:END"),
        ("%START_TIME(%n)%", "expected a time on one line"),
        ("%PER_REQUEST_STATE(a)%", "expected a command operator of access logs"),
        ("%CEL(request.)%", "%CEL(request.)%: expected the name of a field"),
        ("%CEL(request.path.matches('a('))%", "expected another regular expression"),
        ("x" * (MAX_LENGTH + 1), "expected at most"),
    ],
)
def test_what_envoy_refuses_is_refused_with_what_was_expected(text: str, words: str) -> None:
    assert words in (format_problem(text, no_regex_problem) or "")


def test_an_envoy_gets_a_dash_for_an_operator_that_it_does_not_know() -> None:
    text = "%SPAN_ID% %TRACE_ID% %UPSTREAM_TLS_GROUP% %REQUEST_HEADER(x)% %REQ(x)% %QUERY_PARAMS(ORIG)%"

    assert format_for(text, EnvoyVersion(1, 36)) == "- %TRACE_ID% - - %REQ(x)% -"
    assert format_for(text, EnvoyVersion(1, 37)) == "- %TRACE_ID% - %REQUEST_HEADER(x)% %REQ(x)% -"
    assert format_for(text, EnvoyVersion(1, 38)) == "%SPAN_ID% %TRACE_ID% - %REQUEST_HEADER(x)% %REQ(x)% %QUERY_PARAMS(ORIG)%"
    assert format_for(text, EnvoyVersion(1, 39)) == format_for(text, None) == text
    newest = newest_operator(text)
    assert newest
    assert (newest.name, newest.since) == ("UPSTREAM_TLS_GROUP", EnvoyVersion(1, 39))
