"""Whose status is written when: the oldest debt first, what is refused by itself and later, and a mere number hardly ever."""

from __future__ import annotations

from controlplane.model.keys import VIRTUAL_SERVICE
from controlplane.writeback.debts import AGAIN_S, QUIET_S, Debts, Recounts

A, B = (VIRTUAL_SERVICE.key("shop", name) for name in "ab")


def test_the_oldest_debt_is_due_first_however_often_another_is_owed_again() -> None:
    debts = Debts()
    debts.owe(B, 1.0)
    debts.owe(A, 2.0)
    debts.paid(B)
    debts.owe(B, 3.0)
    debts.owe(A, 4.0)

    assert list(debts.due(5.0, refused=False)) == [A, B]


def test_what_is_on_its_way_is_not_due_before_its_patience_has_ended() -> None:
    debts = Debts()
    debts.owe(A, 1.0, patience_s=2.0)
    assert list(debts.due(2.0, refused=False)) == []

    debts.owe(A, 2.0)

    assert list(debts.due(2.0, refused=False)) == [A]


def test_what_is_refused_waits_longer_each_time_and_is_not_among_the_others() -> None:
    debts = Debts()
    debts.owe(A, 0.0)
    debts.owe(B, 0.0)
    waits = []
    now = 0.0
    for _ in range(6):
        debts.failed(A, now, "403 Forbidden", "virtualservices")
        assert list(debts.due(now, refused=False)) == [B]
        later = next(wait for wait in range(200) if list(debts.due(now + wait, refused=True)) == [A])
        waits.append(later)
        now += later

    assert waits == [5, 10, 20, 40, 60, 60]
    assert waits[-1] == AGAIN_S[1]
    assert debts.refused() == {A: "403 Forbidden"}
    assert debts.is_refused("virtualservices")
    debts.paid(A)
    assert not debts.is_refused("virtualservices")


def test_a_number_is_written_when_it_has_been_the_same_for_a_while_and_few_are() -> None:
    recounts = Recounts()
    keys = [VIRTUAL_SERVICE.key("shop", f"r{number}") for number in range(100)]
    for key in keys:
        recounts.want(key, 1, 100.0)
    for key in keys:
        recounts.want(key, 2, 105.0)
    recounts.drop(keys[0])

    assert list(recounts.take(100.0 + QUIET_S)) == []
    taken = list(recounts.take(105.0 + QUIET_S))
    assert len(taken) == 4
    assert keys[0] not in taken


def test_in_the_long_run_two_numbers_are_written_a_minute() -> None:
    recounts = Recounts()
    for number in range(1000):
        recounts.want(VIRTUAL_SERVICE.key("shop", f"r{number}"), 1, 0.0)

    written = sum(len(list(recounts.take(second))) for second in range(10, 610))

    assert 20 <= written <= 24
