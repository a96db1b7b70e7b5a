"""What of a document can be read where its types refuse some of it, so that the rules can look at the rest in the same round."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TypeVar

from pydantic import ValidationError

from controlplane.objects.types.findings import Finding
from controlplane.objects.types.validation_errors import field_path

T = TypeVar("T")
_ROUNDS = 3  # what is refused may hide what is refused too
_Place = tuple[int | str, ...]


def findings_of_the_rest(
    data: Mapping[str, object], error: ValidationError, read: Callable[[Mapping[str, object]], T], check: Callable[[T], Iterable[Finding]]
) -> Iterator[Finding]:
    """Yield what ``check`` finds wrong with the part of ``data`` that ``read`` takes, which refused all of it with ``error``.

    What stands where something was left out, above it or below it, is not told: it would be about what is missing.
    """
    left_out: list[_Place] = []
    rest: object = data
    for _ in range(_ROUNDS):
        places = [place for detail in error.errors(include_url=False, include_input=False) if (place := _removable(rest, detail["loc"]))]
        if not places:
            return
        left_out += places
        for place in places:
            rest = _without(rest, place)
        if not isinstance(rest, Mapping):
            return
        try:
            item = read(rest)
        except ValidationError as next_error:
            error = next_error
            continue
        paths = [field_path(place) for place in left_out]
        yield from (finding for finding in check(item) if not any(_is_about(finding.path, path) for path in paths))
        return


def _removable(data: object, location: Sequence[int | str]) -> _Place | None:
    """Return the innermost field on the way to ``location`` that ``data`` can be without: items of a list would move the others."""
    place: list[int | str] = []
    removable = 0
    for part in location:
        if isinstance(data, Mapping) and part in data:
            data = data[str(part)]
            place.append(part)
            removable = len(place)
        elif isinstance(data, list) and isinstance(part, int) and part < len(data):
            data = data[part]
            place.append(part)
    return tuple(place[:removable]) if removable > 1 else None  # without all of its spec, nothing is left to look at


def _without(data: object, place: _Place) -> object:
    """Return ``data`` without what is at ``place``."""
    part, *further = place
    if isinstance(data, Mapping):
        if not further:
            return {name: value for name, value in data.items() if name != part}
        return {name: _without(value, tuple(further)) if name == part else value for name, value in data.items()}
    if isinstance(data, list) and further:
        return [_without(value, tuple(further)) if index == part else value for index, value in enumerate(data)]
    return data


def _is_about(path: str, other: str) -> bool:
    """Return whether one of ``path`` and ``other`` lies in the other."""
    first, second = sorted((path, other), key=len)
    return second == first or (second.startswith(first) and second[len(first)] in ".[")
