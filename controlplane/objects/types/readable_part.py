"""What of a document can be read where its types refuse some of it, so that the rules can look at the rest in the same round."""

from __future__ import annotations

from collections import defaultdict
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
    left_out: set[_Place] = set()
    rest: object = data
    for _ in range(_ROUNDS):
        places = {place for detail in error.errors(include_url=False, include_input=False) if (place := _removable(rest, detail["loc"]))}
        if not places:
            return
        left_out |= places
        rest = _without(rest, places)
        if not isinstance(rest, Mapping):
            return
        try:
            item = read(rest)
        except ValidationError as next_error:
            error = next_error
            continue
        paths = {field_path(place) for place in left_out}
        above = {ancestor for path in paths for ancestor in _ancestors(path)}
        yield from (
            finding for finding in check(item) if finding.path not in above and paths.isdisjoint((finding.path, *_ancestors(finding.path)))
        )
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


def _without(data: object, places: Iterable[_Place]) -> object:
    """Return ``data`` without what is at ``places``."""
    gone: set[int | str] = set()
    further: defaultdict[int | str, list[_Place]] = defaultdict(list)
    for part, *rest in places:
        if rest:
            further[part].append(tuple(rest))
        else:
            gone.add(part)
    if isinstance(data, Mapping):
        return {name: _without(value, further.get(name, ())) for name, value in data.items() if name not in gone}
    if isinstance(data, list) and further:
        return [_without(value, further.get(index, ())) for index, value in enumerate(data)]
    return data


def _ancestors(path: str) -> Iterator[str]:
    """Yield the paths in which ``path`` lies."""
    for index, character in enumerate(path):
        if character in ".[" and index:
            yield path[:index]
