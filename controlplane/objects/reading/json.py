"""A JSON text to plain values; what JSON leaves open (a key twice) and what Python adds to it (NaN) is refused."""

from __future__ import annotations

import json
from collections import Counter
from typing import NoReturn

from controlplane.objects.reading.yaml import UnreadableError


def looks_like_json(text: str) -> bool:
    """Return whether ``text`` is to be read as JSON first, as kubectl does; a flow mapping of YAML begins alike."""
    return text.lstrip()[:1] == "{"


def decode_json(text: str) -> object:
    """Return the value of ``text``; raises ValueError where it is not JSON, UnreadableError where it is JSON of no use."""
    try:
        return _DECODER.decode(text)
    except RecursionError:
        raise UnreadableError("expected fewer levels", 0) from None


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    mapping = dict(pairs)
    if len(mapping) != len(pairs):
        count = Counter(name for name, _ in pairs)
        twice = next(name for name, times in count.items() if times > 1)
        raise UnreadableError(f"expected each key once, found {twice[:80]!r} again", 0)
    return mapping


def _constant(name: str) -> NoReturn:
    raise UnreadableError(f"expected a number, found {name}", 0)


_DECODER = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_constant)
