"""How many random cases a law is tried on: a sample in ``make test``, as many times more as ``NAVARCH_PROVE`` says in ``make prove``."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TypeVar

from hypothesis import HealthCheck, settings

T = TypeVar("T")
TIMES = int(os.environ.get("NAVARCH_PROVE") or 1)


def seed() -> int:
    """Return the seed of this run, which ``tests/conftest.py`` has chosen or ``NAVARCH_SEED`` given."""
    return int(os.environ["NAVARCH_SEED"])


def cases(sample: int) -> int:
    """Return how many cases to try where ``sample`` are enough in ``make test``."""
    return sample * TIMES


def ends(ordered: Sequence[T]) -> Sequence[T]:
    """Return the first and the last of ``ordered``; all of them in ``make prove``."""
    return ordered if TIMES > 1 else (ordered[0], ordered[-1])


def sampled(examples: int = 100, suppress: Sequence[HealthCheck] = (HealthCheck.too_slow,)) -> settings:
    """Return the settings of a law whose sample is ``examples``; nothing is measured: other processes share the machine."""
    return settings(max_examples=cases(examples), deadline=None, suppress_health_check=suppress)
