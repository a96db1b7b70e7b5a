"""What formats, expressions in CEL and tags of spans must keep to: one that an Envoy does not take costs it a whole listener."""

from __future__ import annotations

import json
from collections.abc import Iterator

from controlplane.model.access_logs.formats import format_problem, newest_operator
from controlplane.model.cel.parser import check_expression
from controlplane.model.cel.tokens import BadExpression
from controlplane.model.envoy_versions import FIRST_WITH_FORMAT_TAGS
from controlplane.objects.telemetry.custom_tags import CustomTag
from controlplane.objects.types.findings import Finding
from controlplane.objects.types.names import is_header
from controlplane.objects.types.regex import regex_error, regex_size
from controlplane.objects.types.rules import OUT_OF_RANGE, conflict, out_of_range, warning

OLD_ENVOYS = "OldEnvoys"  # the code of what some supported Envoys do without
_LARGEST = 2**53  # up to here every whole number is one in JSON
_MOST_INSTRUCTIONS = 100  # of a regular expression in CEL, whatever the proxy's own limit is


def check_cel(path: str, expression: str) -> Iterator[Finding]:
    """Yield what is wrong with ``expression``, in CEL, at ``path``."""
    try:
        check_expression(expression, _regex_problem)
    except BadExpression as error:
        yield Finding(path, OUT_OF_RANGE, f"expected an expression in CEL that Envoy takes: {error}")


def check_format(path: str, text: str) -> Iterator[Finding]:
    """Yield what is wrong with the format ``text`` at ``path``, and that some Envoys do not know all of it."""
    if problem := format_problem(text, _regex_problem):
        yield Finding(path, OUT_OF_RANGE, problem)
    elif operator := newest_operator(text):
        message = f"Envoys before {operator.since.major}.{operator.since.minor} do not know {operator.written[:80]}: they write - there"
        yield warning(path, OLD_ENVOYS, message)


def check_json_format(path: str, text: str) -> Iterator[Finding]:
    """Yield what is wrong with the format ``text`` at ``path``, a JSON object in which every text is a format."""
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError):
        fields = None
    if not isinstance(fields, dict):
        yield out_of_range(path, "a JSON object, whose texts are formats", text)
        return
    for each in _leaves(fields):
        if isinstance(each, str):
            yield from check_format(path, each)
        elif isinstance(each, int | float) and not abs(each) <= _LARGEST:
            yield out_of_range(path, f"numbers up to {_LARGEST}", each)


def check_tag(path: str, tag: CustomTag) -> Iterator[Finding]:
    """Yield what is wrong with ``tag`` at ``path``."""
    if len(tag.model_fields_set) > 1:
        yield conflict(path, "expected one of literal, environment, header and formatter")
    if tag.header and not is_header(tag.header.name):
        yield out_of_range(f"{path}.header.name", "the name of a header", tag.header.name)
    if tag.formatter:
        yield from check_format(f"{path}.formatter.value", tag.formatter.value)
        version = FIRST_WITH_FORMAT_TAGS
        message = f"Envoys before {version.major}.{version.minor} have no tags by formats: their spans do without this one"
        yield warning(f"{path}.formatter", OLD_ENVOYS, message)


def _leaves(value: object) -> Iterator[object]:
    if isinstance(value, dict | list):
        for each in value.values() if isinstance(value, dict) else value:
            yield from _leaves(each)
    else:
        yield value


def _regex_problem(pattern: str) -> str | None:
    if problem := regex_error(pattern):
        return problem
    if (size := regex_size(pattern)) <= _MOST_INSTRUCTIONS:
        return None
    return f"expected a regular expression of at most {_MOST_INSTRUCTIONS} instructions, found {size}"
