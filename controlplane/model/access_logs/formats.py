"""The command operators of formats, beyond those that values of headers have too: their arguments, and since when there are some.

All that is said here was tried with each supported Envoy, from 1.36 to 1.40.
https://www.envoyproxy.io/docs/envoy/v1.40.0/configuration/observability/access_log/usage#command-operators
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from controlplane.model.cel.parser import check_expression
from controlplane.model.cel.tokens import BadExpression
from controlplane.model.envoy_versions import OLDEST, EnvoyVersion
from controlplane.model.header_substitutions import SUBSTITUTION, unknown_substitution

MAX_LENGTH = 16 << 10  # of a format, in characters
_NOTHING = "-"  # what Envoy writes for what there is not
_WITHOUT_QUERY = "REQ_WITHOUT_QUERY"
_ALSO = frozenset((_WITHOUT_QUERY, "PATH", "QUERY_PARAMS"))  # have an argument here
_ONLY_IN_HEADERS = frozenset(("PER_REQUEST_STATE",))
_V37, _V38, _V39 = (EnvoyVersion(1, minor) for minor in (37, 38, 39))
# The first Envoy with an operator, where that is not the oldest supported one; ``()`` is for those with an argument.
_SINCE: Mapping[str, EnvoyVersion] = {
    **dict.fromkeys(
        (
            "DOWNSTREAM_DIRECT_LOCAL_ADDRESS_ENDPOINT_ID",
            "DOWNSTREAM_LOCAL_ADDRESS_ENDPOINT_ID",
            "REQUEST_HEADER()",
            "RESPONSE_HEADER()",
            "RESPONSE_TRAILER()",
        ),
        _V37,
    ),
    **dict.fromkeys(
        (
            "DOWNSTREAM_DETECTED_CLOSE_TYPE",
            "DOWNSTREAM_DIRECT_LOCAL_ADDRESS_WITHOUT_PORT()",
            "DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT()",
            "DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT()",
            "DOWNSTREAM_LOCAL_CLOSE_REASON",
            "DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT()",
            "QUERY_PARAMS",
            "QUERY_PARAMS()",
            "SPAN_ID",
            "UPSTREAM_CONNECTION_IDS_ATTEMPTED",
            "UPSTREAM_DETECTED_CLOSE_TYPE",
            "UPSTREAM_HOSTS_ATTEMPTED",
            "UPSTREAM_HOSTS_ATTEMPTED_WITHOUT_PORT",
            "UPSTREAM_HOST_NAMES_ATTEMPTED",
            "UPSTREAM_HOST_NAMES_ATTEMPTED_WITHOUT_PORT",
            "UPSTREAM_LOCAL_ADDRESS_WITHOUT_PORT()",
            "UPSTREAM_LOCAL_CLOSE_REASON",
            "UPSTREAM_REMOTE_ADDRESS_WITHOUT_PORT()",
        ),
        _V38,
    ),
    **dict.fromkeys(("DOWNSTREAM_TLS_GROUP", "UPSTREAM_SERVER_NAME", "UPSTREAM_TLS_GROUP"), _V39),
}


class Operator(NamedTuple):
    """One command operator in a format: ``%NAME(ARGUMENT)%``; ``None``: it has no argument."""

    written: str
    name: str
    argument: str | None

    @property
    def since(self) -> EnvoyVersion:
        """Return the first supported Envoy that knows it."""
        return _SINCE.get(self.name if self.argument is None else f"{self.name}()", OLDEST)


class _Form(NamedTuple):
    """What the argument of the operators ``names`` has to look like, and the same in words."""

    names: frozenset[str]
    pattern: re.Pattern[str]
    expected: str


_HEADER = r"[!#$&'*+.^_|~`0-9A-Za-z-]+"
_FORMS = (
    _Form(
        frozenset(("REQ", "RESP", "TRAILER", "REQUEST_HEADER", "RESPONSE_HEADER", "RESPONSE_TRAILER", _WITHOUT_QUERY)),
        re.compile(rf":?{_HEADER}(\?:?({_HEADER})?)?"),
        "the name of a header, or NAME?OTHER",
    ),
    _Form(
        frozenset(("FILTER_STATE", "UPSTREAM_FILTER_STATE")),
        re.compile(r"[^:\n]+(:(PLAIN|TYPED|FIELD:[^\n]+)?)?"),
        "KEY:PLAIN, KEY:TYPED or KEY:FIELD:NAME",
    ),
    _Form(
        frozenset(("METADATA",)),
        re.compile(r"(CLUSTER|DYNAMIC|LISTENER|ROUTE|UPSTREAM_HOST|VIRTUAL_HOST)(:[^\n]*)?"),
        "CLUSTER, DYNAMIC, LISTENER, ROUTE, UPSTREAM_HOST or VIRTUAL_HOST, and :NAMESPACE:KEY",
    ),
    _Form(frozenset(("GRPC_STATUS",)), re.compile(r"(CAMEL_STRING|SNAKE_STRING|NUMBER)?"), "CAMEL_STRING, SNAKE_STRING or NUMBER"),
    _Form(frozenset(("COMMON_DURATION",)), re.compile(r"[^:\n]+:[^:\n]+(:(ms|us|ns))?"), "START:END, and perhaps :ms, :us or :ns"),
    _Form(frozenset(("PATH",)), re.compile(r"(WQ|NQ)?(:(ORIG|PATH|ORIG_OR_PATH))?"), "WQ or NQ, and perhaps :ORIG or :PATH"),
    _Form(frozenset(("QUERY_PARAMS",)), re.compile(r"(ORIG|DECODED)?"), "ORIG or DECODED"),
    _Form(
        frozenset(("START_TIME", "START_TIME_LOCAL", "EMIT_TIME", "EMIT_TIME_LOCAL")), re.compile(r"(?!.*%n)[^\n]*"), "a time on one line"
    ),
    _Form(
        frozenset(("CLUSTER_METADATA", "DYNAMIC_METADATA", "ENVIRONMENT", "QUERY_PARAM", "UPSTREAM_METADATA")),
        re.compile(r"[^\n]+"),
        "an argument",
    ),
)


def format_problem(text: str, regex_problem: Callable[[str], str | None]) -> str | None:
    """Return what is wrong with the format ``text``, of which no supported Envoy makes sense; ``None``: nothing.

    ``regex_problem`` says why Envoy does not take a regular expression.
    """
    if len(text) > MAX_LENGTH:
        return f"expected at most {MAX_LENGTH} characters, found {len(text)}"
    if (unknown := unknown_substitution(text, also=_ALSO)) is not None:
        return f"expected a command operator that Envoy knows, as %DURATION%, or %% for a percent sign, found {unknown[:80]!r}"
    problems = (problem for operator in operators(text) if (problem := _argument_problem(operator, regex_problem)))
    return next(problems, None)


def operators(text: str) -> Iterator[Operator]:
    """Yield the command operators in the format ``text``."""
    for match in SUBSTITUTION.finditer(text):
        if match["name"]:
            argument = match["argument"]
            yield Operator(match[0], match["name"], argument if argument is None else argument[1:-1])


def newest_operator(text: str) -> Operator | None:
    """Return the operator of the format ``text`` that the fewest Envoys know; ``None``: all supported ones know all of them."""
    newer = [operator for operator in operators(text) if operator.since > OLDEST]
    return max(newer, key=lambda operator: operator.since, default=None)


def format_for(text: str, version: EnvoyVersion | None) -> str:
    """Return the format ``text`` for an Envoy of ``version``, with ``-`` for what that does not know; ``None`` knows everything."""
    if version is None:
        return text
    for operator in operators(text):
        if operator.since > version:
            text = text.replace(operator.written, _NOTHING)
    return text


def _argument_problem(operator: Operator, regex_problem: Callable[[str], str | None]) -> str | None:
    name, argument = operator.name, operator.argument
    if name in _ONLY_IN_HEADERS:
        return f"expected a command operator of access logs, found {operator.written[:80]}"
    if argument is None:
        return None
    if name == "CLUSTER_METADATA" and not operator.written.endswith(")%"):
        return f"expected no length after the argument, found {operator.written[:80]}"
    if name == "CEL":
        return _cel_problem(argument, regex_problem)
    form = next((form for form in _FORMS if name in form.names), None)
    if form is None or form.pattern.fullmatch(argument):
        return None
    return f"expected {form.expected}, found {operator.written[:80]!r}"


def _cel_problem(expression: str, regex_problem: Callable[[str], str | None]) -> str | None:
    try:
        check_expression(expression, regex_problem)
    except BadExpression as error:
        return f"%CEL({expression[:60]})%: {error}"
    return None
