"""What a stream asks for, apart from any protocol."""

from __future__ import annotations

from controlplane.xds.subscription import Subscription
from tests.support.fakes.resources import cluster


def test_nothing_is_asked_for_at_first() -> None:
    asked = Subscription()

    assert not asked.wants("a")
    assert asked.size == 0


def test_everything_is_asked_for_silently_only_by_who_never_named_anything() -> None:
    silent, named = Subscription(), Subscription()
    named.add(["a"])
    named.drop(["a"])

    for each in (silent, named):
        each.begin()

    assert silent.wants("anything")
    assert not named.wants("a")


def test_names_beside_everything_are_left_when_everything_is_dropped() -> None:
    asked = Subscription()
    asked.add(["*", "a", "b"])
    asked.put([cluster("a")])
    asked.put([cluster("c")])

    asked.drop(["*"])

    assert dict(asked.client_resources.items()) == {"a": cluster("a"), "b": None}
    assert (asked.wants("a"), asked.wants("c")) == (True, False)


def test_names_that_become_part_of_everything_are_kept_with_what_the_client_has() -> None:
    asked = Subscription()
    asked.add(["a", "missing"])
    asked.put([cluster("a")])

    asked.add(["*"])

    assert dict(asked.client_resources.items()) == {"a": cluster("a")}
    assert asked.named == {"a", "missing"}
    assert asked.size == 2


def test_dropping_a_name_beside_everything_says_that_it_has_to_be_answered() -> None:
    asked = Subscription()
    asked.add(["*", "a"])

    assert asked.drop(["a", "phantom"]) == {"a"}
    assert asked.wants("a")


def test_a_list_of_all_names_is_told_as_what_is_new_and_what_is_dropped() -> None:
    asked = Subscription()
    asked.add(["a", "b"])

    assert asked.compare({"b", "c"}) == ({"c"}, {"a"})
    assert asked.compare({"a", "b"}) == (set(), set())


def test_an_empty_list_means_what_it_meant_at_first() -> None:
    silent, named = Subscription(), Subscription()
    silent.begin()
    named.add(["a"])

    assert silent.compare(set()) == (set(), set())
    assert named.compare(set()) == (set(), {"a"})


def test_a_resource_that_is_taken_away_is_remembered_only_under_a_name_asked_for() -> None:
    everything, named = Subscription(), Subscription()
    everything.begin()
    named.add(["a"])

    for each in (everything, named):
        each.put([cluster("a")])
        each.put([], ["a"])

    assert dict(everything.client_resources.items()) == {}
    assert dict(named.client_resources.items()) == {"a": None}
