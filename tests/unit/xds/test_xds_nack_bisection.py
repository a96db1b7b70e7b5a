"""How a refused response is tried again."""

from __future__ import annotations

from controlplane.xds.nack_bisection import split_refused, with_conflicting

NONE: frozenset[str] = frozenset()


def test_a_few_are_tried_one_by_one() -> None:
    assert split_refused({"b": NONE, "a": NONE}) == [{"a"}, {"b"}]


def test_none_is_no_part() -> None:
    assert split_refused({}) == []


def test_names_with_a_key_in_common_stand_together_even_through_others() -> None:
    keys = {"a": frozenset("x"), "b": frozenset("y"), "c": frozenset("xy"), "d": frozenset("z")}

    assert split_refused(keys) == [{"a", "b", "c"}, {"d"}]


def test_many_are_tried_in_a_few_parts_that_hold_each_name_once() -> None:
    names = [f"n{number:04}" for number in range(1000)]

    found = split_refused(dict.fromkeys(names, NONE))

    assert len(found) == 16
    assert sorted(name for part in found for name in part) == names


def test_names_are_joined_by_those_that_want_the_same_key() -> None:
    keys = {"a": frozenset("x"), "b": frozenset("xy"), "c": frozenset("y"), "d": frozenset("z")}

    assert with_conflicting({"a"}, "bcd", keys.__getitem__) == {"a", "b", "c"}
    assert with_conflicting(set(), "bcd", keys.__getitem__) == set()
