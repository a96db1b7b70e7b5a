"""How a refused response is tried again."""

from __future__ import annotations

from controlplane.xds.parts import joined, parts

NONE: frozenset[str] = frozenset()


def test_a_few_are_tried_one_by_one() -> None:
    assert parts({"b": NONE, "a": NONE}) == [{"a"}, {"b"}]


def test_none_is_no_part() -> None:
    assert parts({}) == []


def test_names_with_a_claim_in_common_stand_together_even_through_others() -> None:
    claims = {"a": frozenset("x"), "b": frozenset("y"), "c": frozenset("xy"), "d": frozenset("z")}

    assert parts(claims) == [{"a", "b", "c"}, {"d"}]


def test_many_are_tried_in_a_few_parts_that_hold_each_name_once() -> None:
    names = [f"n{number:04}" for number in range(1000)]

    found = parts(dict.fromkeys(names, NONE))

    assert len(found) == 16
    assert sorted(name for part in found for name in part) == names


def test_names_are_joined_by_those_that_claim_the_same() -> None:
    claims = {"a": frozenset("x"), "b": frozenset("xy"), "c": frozenset("y"), "d": frozenset("z")}

    assert joined({"a"}, "bcd", claims.__getitem__) == {"a", "b", "c"}
    assert joined(set(), "bcd", claims.__getitem__) == set()
