"""One text, many documents: what each says, and that a broken one takes no other with it."""

from __future__ import annotations

import json

import pytest

from controlplane.model.keys import Key
from controlplane.objects.reading.documents import MAX_BYTES, Document, documents


def values(text: str | bytes) -> list[object]:
    return [each.data for each in documents(text)]


def only(text: str | bytes) -> Document:
    [found] = documents(text)
    return found


def reason(text: str | bytes) -> str:
    problem = only(text).problem
    assert problem is not None
    return problem.message


def test_documents_are_told_apart_and_know_where_they_begin() -> None:
    text = "# a comment\n---\nkind: A\n---\n---\n# nothing\n---\n\nkind: B\n...\n"

    found = documents(text)

    assert [each.data for each in found] == [{"kind": "A"}, {"kind": "B"}]
    assert [each.line for each in found] == [3, 9]


def test_a_broken_document_leaves_the_others() -> None:
    text = "kind: A\n---\nkind: B\nmetadata:\n  labels: {name: no}\n  name: b\nspec: [\n---\nkind: C\n"

    first, broken, last = documents(text)

    assert (first.data, last.data) == ({"kind": "A"}, {"kind": "C"})
    assert broken.problem is not None
    assert broken.problem.object == Key("B", "default", "b")
    assert broken.line_of("spec") in (7, 8)
    assert last.line_of("kind") == 9


def test_a_separator_within_a_block_is_text_where_it_is_indented() -> None:
    text = "data:\n  mesh: |\n    a: 1\n    ---\n    b: 2\n"

    assert values(text) == [{"data": {"mesh": "a: 1\n---\nb: 2\n"}}]


def test_directives_are_no_document() -> None:
    assert values("%YAML 1.1\n---\nkind: A\n") == [{"kind": "A"}]


@pytest.mark.parametrize("kind", ["List", "ServiceList"])
def test_the_items_of_a_list_are_documents(kind: str) -> None:
    text = f"---\nkind: {kind}\nitems:\n- kind: A\n  metadata:\n    name: a\n- 7\n- kind: B\n"

    first, broken, last = documents(text)

    assert (first.data, last.data) == ({"kind": "A", "metadata": {"name": "a"}}, {"kind": "B"})
    assert [first.line, broken.line_of(""), last.line] == [4, 7, 8]
    assert first.line_of("metadata.name") == 6
    assert broken.problem is not None
    assert "items[1]" in broken.problem.message


def test_json_is_read_as_json() -> None:
    text = '\n{"kind": "A", "emoji": "\\ud83d\\ude00", "slash": "\\/",\n\t"n": 1e3}'

    assert values(text) == [{"kind": "A", "emoji": "😀", "slash": "/", "n": 1000}]
    assert only('\n\n{"a": 1,\n"b": {"c": 2}}').line_of("b.c") == 4


def test_yaml_that_begins_as_json_does_is_read_as_yaml() -> None:
    assert values("{kind: A, list: [a, b]}") == [{"kind": "A", "list": ["a", "b"]}]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("yes", True),
        ("Off", False),
        ("y", True),
        ("~", None),
        ("", None),
        ("'yes'", "yes"),
        ("2026-01-01", "2026-01-01"),
        ("12:30:45", "12:30:45"),
        ("1e3", 1000),
        ("1.5", 1.5),
        ("010", 8),
        ("0x1F", 31),
        ("0b11", 3),
        ("1_000", 1000),
        ("1.2.3", "1.2.3"),
        ("-9223372036854775808", -(2**63)),
        ("!!str 80", "80"),
        ("!!int '80'", 80),
        ("!ours 80", "80"),
        ("9" * 500 + "x", "9" * 500 + "x"),
    ],
)
def test_scalars_are_what_kubectl_reads(text: str, value: object) -> None:
    assert values(f"a: {text}") == [{"a": value}]


def test_what_libyaml_refuses_and_kubectl_reads_is_read() -> None:
    assert values("a: [1.2.3.4, 001:db8::, '[::1]']") == [{"a": ["1.2.3.4", "001:db8::", "[::1]"]}]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: *x\nb: &x [1]", "stands before it, found *x"),
        ("a: &x [*x]", "stands before it, found *x"),
        ("<<: 1", "expected a mapping"),
        ("a: &x " + "[" * 40 + "]" * 40 + "\nb: " + "[" * 30 + "*x" + "]" * 30, "at most 64 levels"),
        ("a: " + "[" * 65 + "]" * 65, "at most 64 levels"),
        ("a: " + "[" * 100_000, "at most 64 levels"),
        ('{"a":' * 100_000, "levels"),
        ("a: 1\na: 2", "each key once"),
        ('{"a": 1, "a": 2}', "each key once"),
        ('{"a": NaN}', "expected a number"),
        ("a: 9223372036854775808", "64 bits"),
        ("a: " + "9" * 5000, "64 bits"),
        ("a: 1e999", "64 bits"),
        ('a: "\\0"', "NUL"),
        ("a: \ud800", "surrogate"),
        ("a: \0", "characters"),
        ("[1]: 2", "plain key"),
        ("- kind: A", "Kubernetes object"),
        ("just text", "Kubernetes object"),
        ("a: 'x", "unexpected end"),
        (b"a: \xff", "UTF-8"),
        ("a: " + "x" * MAX_BYTES, f"at most {MAX_BYTES} bytes"),
    ],
)
def test_what_is_dangerous_or_broken_is_refused_with_the_reason(text: str | bytes, expected: str) -> None:
    assert expected in reason(text)


def test_an_alias_bomb_costs_nothing() -> None:
    bomb = "a: &a [x, x]\n" + "".join(f"{chr(98 + at)}: &{chr(98 + at)} [*{chr(97 + at)}, *{chr(97 + at)}]\n" for at in range(20))

    assert "at most 20 times as long" in reason(bomb)
    assert "at most 20 times as long" in reason(f"a: &a {'x' * 1000}\nb: [{'*a, ' * 300}]")


def test_an_alias_is_what_its_anchor_names_and_mappings_are_merged_as_kubectl_does() -> None:
    assert values("a: &x {b: [1]}\nc: *x\nd: [*x, *x]") == [{"a": {"b": [1]}, "c": {"b": [1]}, "d": [{"b": [1]}, {"b": [1]}]}]
    assert values("a: &x {b: 1, c: 1}\nd: {c: 2, <<: *x}\ne: {<<: [{b: 3}, *x]}")[0] == {
        "a": {"b": 1, "c": 1},
        "d": {"b": 1, "c": 2},
        "e": {"b": 3, "c": 1},
    }
    assert values("a: {'<<': 1}") == [{"a": {"<<": 1}}]


def test_an_anchor_alone_is_fine_and_a_byte_order_mark_too() -> None:
    assert values("\ufeffa: &x 1") == [{"a": 1}]
    assert values(b"\xef\xbb\xbfa: 1") == [{"a": 1}]


def test_the_line_of_a_field_that_is_not_written_is_that_of_the_nearest_above() -> None:
    document = only("kind: A\nspec:\n  http:\n  - route:\n    - weight: 1\n      destination: {host: a}\n")

    lines = [
        document.line_of(path) for path in ("spec.http[0].route[0].weight", "spec.http[0].route[0].destination.port.number", "status", "")
    ]

    assert lines == [5, 6, 1, 1]


def test_a_broken_document_of_json_says_whose_it_is_when_that_can_be_told() -> None:
    pretty = json.dumps({"kind": "Sidecar", "metadata": {"name": "a", "namespace": "ns"}}, indent=0)[:-1]
    flow = "kind: Namespace\nmetadata: {name: prod, labels: {name: x}}\nspec: ]"

    assert only(pretty).problem is not None
    problem = only(flow).problem
    assert problem is not None
    assert problem.object == Key("Namespace", "", "prod")
