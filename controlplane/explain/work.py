"""Work in pieces: whoever waits on the event loop gives others a turn after each."""

from __future__ import annotations

from collections.abc import Generator
from typing import TypeAlias, TypeVar

T = TypeVar("T")
Work: TypeAlias = Generator[None, None, T]


def finished(work: Work[T]) -> T:
    """Return what ``work`` comes to, done at once."""
    while True:
        try:
            next(work)
        except StopIteration as end:
            result: T = end.value
            return result
