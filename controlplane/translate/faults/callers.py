"""Whose requests or connections a fault at the callee is for, by the URIs in certificates."""

from __future__ import annotations

from typing import NamedTuple


class CallerUri(NamedTuple):
    """A URI that callers' certificates have, or with ``prefix`` what it begins with."""

    text: str
    prefix: bool = False
