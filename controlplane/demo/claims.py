"""What the demo claims, and whether the figures bear it out."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

_SIGMAS = 4.0  # of a binomial share: all but one in 15,000 honest runs are within


@dataclass(frozen=True, slots=True)
class DemoClaim:
    """One claim with its measured proof."""

    title: str
    held: bool
    proof: str
    figures: Mapping[str, float | str] = field(default_factory=dict)
    shown: tuple[str, ...] = ()  # lines below it


def is_plausible_share(seen: int, total: int, percent: float) -> bool:
    """Return whether ``seen`` of ``total`` may honestly be ``percent`` of 100."""
    expected = total * percent / 100
    spread = _SIGMAS * math.sqrt(expected * (1 - percent / 100))
    return abs(seen - expected) <= max(spread, 0.5)
