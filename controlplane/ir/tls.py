"""TLS: who has to be at the other end."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Peer:
    """Who has to be at the other end: one of ``names``, or whoever is in ``within``; URIs, and the beginning of URIs."""

    names: tuple[str, ...] = ()
    within: tuple[str, ...] = ()
