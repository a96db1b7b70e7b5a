"""Conditions on a text: a header, a query parameter, a claim, an origin."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Exact:
    """It is ``value``."""

    value: str


@dataclass(frozen=True, slots=True)
class Prefix:
    """It begins with ``value``."""

    value: str


@dataclass(frozen=True, slots=True)
class Pattern:
    """The whole of it fits ``regex`` (RE2)."""

    regex: str


@dataclass(frozen=True, slots=True)
class Present:
    """It is there, whatever it says."""


TextMatch = Exact | Prefix | Pattern
OptionalTextMatch = TextMatch | Present  # of what may be missing
