"""Who lives, by Leases whose holders' clocks say anything."""

from __future__ import annotations

from controlplane.untyped import Json
from controlplane.writeback.replicas import ObservedLeases


class Clock:
    """A clock that is set by hand."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


def lease(version: int, holder: str = "a", renewed: str = "2020-01-01T00:00:00.000000Z") -> Json:
    return {"metadata": {"resourceVersion": str(version)}, "spec": {"holderIdentity": holder, "renewTime": renewed}}


def test_a_replica_whose_clock_is_years_behind_lives_as_long_as_it_renews() -> None:
    clock = Clock()
    observed = ObservedLeases(clock)

    for version in range(1, 31):
        assert observed.alive({"a": lease(version)}) == {"a"}
        clock.now += 2


def test_a_replica_whose_clock_is_years_ahead_is_gone_when_it_renews_no_more() -> None:
    clock = Clock()
    observed = ObservedLeases(clock)
    ahead = lease(1, renewed="2099-01-01T00:00:00.000000Z")

    lived = []
    for _ in range(20):
        lived.append(bool(observed.alive({"a": ahead})))
        clock.now += 1

    assert lived == [True] * 15 + [False] * 5


def test_one_that_has_given_its_lease_back_is_gone_at_once() -> None:
    assert ObservedLeases(Clock()).alive({"a": lease(1, holder="")}) == set()


def test_while_nobody_could_be_asked_nobody_was_silent() -> None:
    clock = Clock()
    observed = ObservedLeases(clock)
    observed.alive({"a": lease(1)})
    clock.now += 60  # nothing could be renewed at an API server that was away

    assert observed.alive({"a": lease(1)}) == {"a"}


def test_it_is_settled_when_each_was_renewed_or_silent_for_long() -> None:
    clock = Clock()
    observed = ObservedLeases(clock)

    observed.alive({"a": lease(1), "b": lease(1), "c": lease(1, holder="")})
    first = observed.settled
    clock.now += 2
    observed.alive({"a": lease(2), "b": lease(1), "c": lease(1, holder="")})
    second = observed.settled
    for _ in range(5):
        clock.now += 3
        alive = observed.alive({"a": lease(2 + int(clock.now)), "b": lease(1), "c": lease(1, holder="")})

    assert (first, second, observed.settled, alive) == (False, False, True, {"a"})
