"""What came of a leaf, as a letter and in words."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from tests.support.fields.tables import without_use
from tests.support.fields.world import Part


class Letter(StrEnum):
    """What came of a leaf, or of one of its values."""

    EFFECT = "T"
    WARNED = "N"
    SILENT = "S"
    REFUSED = "R"
    WITHOUT_USE = "="
    DEFAULT = "d"  # of one value: nothing changes, and that is right


MEANINGS = {
    Letter.EFFECT: "something changes",
    Letter.WARNED: "nothing changes, and a Problem says so",
    Letter.SILENT: "nothing changes, and nobody is told",
    Letter.REFUSED: "an error, whatever stands there",
    Letter.WITHOUT_USE: "without use in Istio too, or by its nature",
}
_BEST_FIRST = (Letter.EFFECT, Letter.WARNED, Letter.DEFAULT, Letter.SILENT, Letter.REFUSED)


class Result(NamedTuple):
    """What came of one value, what was said of it, and what changed."""

    letter: Letter
    said: str = ""
    changed: frozenset[Part] = frozenset()

    def or_better(self, other: Result) -> Result:
        """Return the better of this and ``other``, with all that changed."""
        better = min(self, other, key=lambda result: _BEST_FIRST.index(result.letter))
        return better._replace(changed=self.changed | other.changed)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of one leaf, by value."""

    kind: str
    path: str
    results: Mapping[str, Result]

    @property
    def letter(self) -> Letter:
        """Return the letter of the leaf: silent if one of its values is, whatever the others are."""
        letters = {result.letter for result in self.results.values()}
        if Letter.EFFECT not in letters and without_use(self.kind, self.path):
            return Letter.WITHOUT_USE
        return next(letter for letter in (Letter.SILENT, Letter.EFFECT, Letter.WARNED, Letter.REFUSED, Letter.DEFAULT) if letter in letters)

    @property
    def is_silent(self) -> bool:
        """Return whether nothing comes of the leaf, and nobody is told."""
        return self.letter is Letter.SILENT

    @property
    def is_mistold(self) -> bool:
        """Return whether ``known.yaml`` says of the leaf that nothing comes of it, and something does."""
        return self.letter is Letter.EFFECT and bool(without_use(self.kind, self.path))

    @property
    def said(self) -> str:
        """Return what there is to say of the leaf, besides its letter."""
        if self.letter is Letter.WITHOUT_USE:
            return without_use(self.kind, self.path)
        said = {value: result for value, result in self.results.items() if result.letter in (Letter.WARNED, Letter.REFUSED)}
        if len(said) == len(self.results):
            return next(iter(said.values())).said
        return "; ".join((*self._changed(), *(f"`{value}` {result.letter}: {result.said}" for value, result in said.items())))

    def _changed(self) -> Iterator[str]:
        by_whom: dict[str, list[str]] = defaultdict(list)
        for who, what in sorted(frozenset().union(*(result.changed for result in self.results.values()))):
            by_whom[who].append(what)
        yield from (f"{who}: {', '.join(whats)}" for who, whats in by_whom.items())
