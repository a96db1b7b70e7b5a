"""Which of two objects counts where both say something of the same, in words; both are told, as either may be the mistake."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice

from controlplane.model.keys import Key

_NAMED = 3  # others that a message names


def why_first(created: str, later: str) -> str:
    """Return why an object that was ``created`` counts before one created ``later``; objects in files have no creation time."""
    return "which is older" if created and later and created < later else "which comes first"


def named(keys: Iterable[Key], count: int) -> str:
    """Return the first of ``keys``, of which there are ``count``, in words."""
    shown = [str(key) for key in islice(keys, _NAMED)]
    return ", ".join(shown) + (f" and {count - len(shown)} more" if count > len(shown) else "")


def listed(keys: Sequence[Key]) -> str:
    """Return ``keys`` in words: the first few, and how many more there are."""
    return named(keys, len(keys))
