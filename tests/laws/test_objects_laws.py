"""Whatever is written: reading it never raises, says where, and gives equal values for equal texts."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping
from typing import Literal, get_args, get_origin

import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from controlplane.model.keys import ENVOY_FILTER, PROXY_CONFIG_KIND, RATE_LIMIT, TELEMETRY_KIND, TRAFFIC_EXTENSION, WASM_PLUGIN, GroupKind
from controlplane.model.problems import Severity
from controlplane.objects.kinds import KINDS
from controlplane.objects.parse import parse
from controlplane.objects.reading.documents import documents
from controlplane.objects.types.scalars import UnsupportedField
from tests.support.proofs import sampled

Json = dict[str, object]
SECONDS = 5.0  # for what takes well below one where nothing is quadratic
BREAK = re.compile("\r\n|[\n\r\x85\u2028\u2029]")  # what YAML takes for the end of a line

ODD_TEXTS = (
    "",
    "*",
    "mesh",
    "a.b",
    "*.a.b",
    "ns/a.b",
    "~",
    "1s",
    "0s",
    "-1ms",
    "1.1.1.1",
    "::1",
    "10.0.0.0/8",
    "unix:///a",
    "HTTP",
    "(",
    "a" * 300,
    "\x1b[0m",
)
MORE_TEXTS = ("5xx,503", "%", "\0", "\ud800", "٣", "Straße", "a/b/c", "STATIC", "DNS", "GET", "UNAVAILABLE", "127.0.0.1:80")
ODD_NUMBERS = (0, 1, 80, 100, 65535, 65536, -1, 2**31 - 1, 2**32, 2**63 - 1, 2**70, 1.5, 1e300)
POLICY_TEXTS = (
    "source.ip",
    "request.headers[a]",
    "request.auth.claims[a",
    "/a/{*}/{**}",
    "{",
    "{}",
    '{"keys":[{}]}',
    "oci://a",
    "http:",
    "080",
)
texts = st.sampled_from(ODD_TEXTS + MORE_TEXTS + POLICY_TEXTS) | st.text(max_size=8)
numbers = st.sampled_from(ODD_NUMBERS) | st.integers(0, 300)
scalars = st.none() | st.booleans() | numbers | texts
anything = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3), max_leaves=8)


def values_of(annotation: object, depth: int) -> st.SearchStrategy[object]:
    """Return values for a field of type ``annotation``, most of them of the right shape, and few of them sensible."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return objects_of(annotation, depth - 1) if depth else st.just({})
    if get_origin(annotation) is Literal:
        return st.sampled_from(get_args(annotation)) | texts
    parts = [each for each in get_args(annotation) if not isinstance(each, UnsupportedField)]
    if get_origin(annotation) is tuple:
        return st.lists(values_of(parts[0], depth), max_size=3)
    if getattr(get_origin(annotation), "__name__", "") == "Mapping":
        return st.dictionaries(texts, values_of(parts[-1], depth), max_size=2)
    if parts and not isinstance(annotation, type):
        return st.one_of(
            [values_of(each, depth) for each in parts if each is not type(None) and not hasattr(each, "__dataclass_fields__")][:2]
        )
    return (
        {str: texts, int: numbers | texts, float: numbers, bool: st.booleans()}.get(annotation, scalars)
        if isinstance(annotation, type)
        else scalars
    )


def objects_of(model: type[BaseModel], depth: int) -> st.SearchStrategy[object]:
    fields = {field.alias or name: values_of(field.annotation, depth) for name, field in model.model_fields.items()}
    return st.fixed_dictionaries({}, optional={name: field | anything if depth < 2 else field for name, field in fields.items()})


def document_of(group: str, kind: str, version: str) -> st.SearchStrategy[Json]:
    known = KINDS[GroupKind(group, kind)]
    spec = objects_of(known.spec, 4) if known.spec else anything
    head = {"apiVersion": st.just(f"{group}/{version}" if group else version), "kind": st.just(kind)}
    names = st.fixed_dictionaries({"name": st.just("x") | texts}, optional={"namespace": texts, "labels": anything})
    return st.fixed_dictionaries({**head, "metadata": names | anything}, optional={"spec": spec, "status": anything, "endpoints": anything})


odd_documents = st.sampled_from([(group, kind, version) for (group, kind), each in KINDS.items() for version in each.versions]).flatmap(
    lambda known: document_of(*known)
)


@sampled(250)
@given(odd_documents)
def test_parsing_never_raises_and_an_error_is_what_takes_the_object_away(data: Json) -> None:
    parsed = parse(data)

    errors = [each for each in parsed.problems if each.severity is Severity.ERROR]
    assert (parsed.object is None) == bool(errors)
    assert all(each.object == parsed.key and each.message.isprintable() and each.field.isprintable() for each in parsed.problems)
    again = parse(data)
    assert again == parsed
    if parsed.object is not None:
        assert parsed.object.key == parsed.key
        assert hash(parsed.object) == hash(again.object)


# Kinds whose objects may be long: most of them are lists.
LONG = (ENVOY_FILTER, PROXY_CONFIG_KIND, RATE_LIMIT, TELEMETRY_KIND, TRAFFIC_EXTENSION, WASM_PLUGIN)
policies = st.sampled_from(LONG).flatmap(lambda known: document_of(*known, KINDS[known].versions[-1]))


def swollen(value: object, times: int) -> object:
    """Return ``value`` with the items of its outermost lists, and of every text, ``times`` as often."""
    match value:
        case dict():
            return {name: swollen(each, times) for name, each in value.items()}
        case list():
            return value * times
        case str():
            return value * times
        case _:
            return value


@sampled(100)
@given(policies, st.sampled_from((1, 20, 2000)))
def test_a_policy_that_is_very_long_is_read_in_a_moment(data: Json, times: int) -> None:
    large = {**data, "spec": swollen(data.get("spec"), times)}
    began = time.process_time()

    parsed = parse(large)

    assert time.process_time() - began < SECONDS
    assert parsed.object is None or not any(each.severity is Severity.ERROR for each in parsed.problems)


@sampled(60)
@given(
    st.sampled_from(LONG),
    st.dictionaries(texts, anything) | anything,
)
def test_any_json_under_the_name_of_a_policy_is_an_object_or_problems(known: GroupKind, spec: object) -> None:
    group, kind = known

    parsed = parse({"apiVersion": f"{group}/{KINDS[known].versions[0]}", "kind": kind, "metadata": {"name": "x"}, "spec": spec})

    assert (parsed.object is None) == any(each.severity is Severity.ERROR for each in parsed.problems)


@sampled(100)
@given(st.dictionaries(st.sampled_from(["apiVersion", "kind", "metadata", "spec", "data"]) | texts, anything))
def test_any_json_is_an_object_or_problems(data: Json) -> None:
    parsed = parse(data)

    assert parsed.object is not None or parsed.problems


WORDS = (
    "---\n",
    "kind: ",
    "A\n",
    "- ",
    "  ",
    "[",
    "]",
    "{",
    "}",
    "&a ",
    "*a",
    ": ",
    "|\n",
    "'",
    '"',
    "\n",
    "!!int ",
    "<<",
    "#",
    "? ",
    "\t",
    "%YAML",
    "...\n",
    "1",
    "\0",
    "é",
)


@sampled(300)
@given(st.lists(st.sampled_from(WORDS) | st.text(max_size=4), max_size=30).map("".join))
def test_reading_never_raises_and_every_line_is_in_the_file(text: str) -> None:
    lines = len(BREAK.findall(text)) + 1

    for document in documents(text):
        assert (document.data is None) != (document.problem is None)
        assert 1 <= document.line <= lines
        assert 1 <= document.line_of("metadata.name") <= lines + 1  # the end of the file counts as a line


finite = st.floats(allow_nan=False, allow_infinity=False, width=32)
plain = st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | finite | st.text(st.characters(exclude_categories=["Cs", "Cc"]))
keys = st.text("abcyno-./", min_size=1)
trees = st.recursive(plain, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4))


@sampled(150)
@given(st.dictionaries(keys, trees, max_size=4))
def test_json_and_yaml_of_one_value_are_read_alike(value: Mapping[str, object]) -> None:
    as_json = (json.dumps(value), json.dumps(value, ensure_ascii=False, indent=1))
    # Quoted: PyYAML leaves some words bare (y, 0E0) that kubectl does not take for strings.
    as_yaml = (
        yaml.safe_dump(value, allow_unicode=True, default_style='"'),
        yaml.safe_dump(value, default_flow_style=True, default_style='"'),
    )

    for text in (*as_json, *as_yaml):
        assert [each.data for each in documents(text)] == [value], text
