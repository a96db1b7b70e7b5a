"""What the demo takes for an honest share."""

from __future__ import annotations

import pytest

from controlplane.demo.claims import is_plausible_share


@pytest.mark.parametrize(("seen", "total", "percent"), [(100, 1000, 10), (130, 1000, 10), (200, 400, 50), (0, 100, 0), (100, 100, 100)])
def test_shares_within_chance_hold(seen: int, total: int, percent: float) -> None:
    assert is_plausible_share(seen, total, percent)


@pytest.mark.parametrize(("seen", "total", "percent"), [(150, 1000, 10), (50, 1000, 10), (300, 400, 50), (1, 100, 0), (99, 100, 100)])
def test_shares_beyond_chance_do_not(seen: int, total: int, percent: float) -> None:
    assert not is_plausible_share(seen, total, percent)
