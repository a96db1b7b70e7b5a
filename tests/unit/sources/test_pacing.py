"""How often a registry is asked."""

from __future__ import annotations

from controlplane.sources.registry.pacing import RetryDelay, TokenBucket


def test_a_burst_goes_at_once_and_then_one_at_a_time() -> None:
    bucket = TokenBucket(2, 0.5)

    assert [bucket.take(10.0) for _ in range(4)] == [0.0, 0.0, 0.5, 1.0]
    assert bucket.wait_s(11.0) == 0.5
    assert bucket.take(100.0) == 0.0


def test_waits_after_failures_double_until_it_works() -> None:
    delay = RetryDelay(lambda: 0.5, first_s=1.0, last_s=3.0)

    assert [delay.failed() for _ in range(4)] == [1.0, 2.0, 3.0, 3.0]
    delay.worked()
    assert delay.failed() == 1.0
