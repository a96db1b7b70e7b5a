"""How much one client may ask for with all its streams."""

from __future__ import annotations

from dataclasses import dataclass

from controlplane.serve.xds.quotas import MAX_NAMES, MAX_UNANSWERED, Allowance, Quotas

EACH = MAX_NAMES


@dataclass
class Requested:
    size: int = 0
    nothing: int = 0

    def unanswered(self) -> int:
        return self.nothing


def test_the_streams_of_one_client_share_what_it_may_ask_for_and_no_other_client_does() -> None:
    quotas = Quotas()
    streams = [Allowance(quotas, "a") for _ in range(MAX_UNANSWERED // EACH)]
    for stream in streams:
        assert stream.exceeded(Requested(EACH, EACH), EACH) is None

    assert Allowance(quotas, "a").exceeded(Requested(EACH, EACH), EACH) is not None
    assert Allowance(quotas, "b").exceeded(Requested(EACH, EACH), EACH) is None


def test_what_a_stream_had_is_given_back_when_it_ends() -> None:
    quotas = Quotas()
    stream = Allowance(quotas, "a")
    stream.exceeded(Requested(EACH, EACH), EACH)

    stream.close()

    assert quotas.unanswered("a") == 0


def test_what_exists_costs_a_client_nothing_of_its_quota() -> None:
    quotas = Quotas()
    for _ in range(MAX_UNANSWERED // EACH + 5):
        assert Allowance(quotas, "a").exceeded(Requested(EACH, 0), EACH) is None


def test_a_stream_that_holds_too_many_names_has_exceeded_its_own() -> None:
    assert Allowance(Quotas(), "a").exceeded(Requested(MAX_NAMES + 1), 1) is not None
