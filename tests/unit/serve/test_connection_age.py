"""Until when who has called is believed, and what gRPC is told of it."""

from __future__ import annotations

import pytest

from controlplane.serve.authn.connection_age import ConnectionAge


class Clock:
    """A clock that is set by hand."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize("age_s", [3.0, 10.0, 1800.0])
def test_streams_end_after_the_peer_was_told_to_leave_and_before_they_are_cut_off(age_s: float) -> None:
    clock, chances = Clock(), (0.0, 0.5, 1.0)
    options = dict(ConnectionAge(age_s, lambda: 0.0, clock).options)
    goaway_s, cut_off_s = (options[f"grpc.max_connection_age_{name}"] / 1000 for name in ("ms", "grace_ms"))

    age = ConnectionAge(age_s, iter(chances).__next__, clock)
    ends = [age.ends_at(f"ipv4:10.0.0.1:{port}") - clock.now for port in range(len(chances))]

    assert goaway_s * 1.1 < min(ends)  # gRPC adds or takes away a tenth
    assert max(ends) <= age_s
    assert max(ends) + 5 <= goaway_s * 0.9 + cut_off_s + 0.01  # where the first call came some seconds after the connection


def test_all_streams_of_a_connection_end_at_once() -> None:
    clock, chances = Clock(), iter((0.0, 1.0, 0.5))
    age = ConnectionAge(100.0, lambda: next(chances), clock)

    first = age.ends_at("ipv4:10.0.0.1:1")
    clock.now += 50
    same, other = age.ends_at("ipv4:10.0.0.1:1"), age.ends_at("ipv4:10.0.0.1:2")
    clock.now += 60
    again = age.ends_at("ipv4:10.0.0.1:1")  # the port is used again, by another connection

    assert (first, same, other, again) == (1090.0, 1090.0, 1150.0, 1205.0)
