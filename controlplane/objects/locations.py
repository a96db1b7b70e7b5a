"""Where what was read stands in its file: looked up when a Problem is shown, never carried through the mesh."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from controlplane.model.keys import Key
from controlplane.model.problems import Problem


@dataclass(frozen=True, slots=True, order=True)
class Location:
    """A line, from 1, of a file."""

    file: str
    line: int

    def __str__(self) -> str:
        """Return ``file:line``."""
        return f"{self.file}:{self.line}"


@dataclass(frozen=True, slots=True)
class LocatedProblem:
    """A Problem and where it stands, if it came from a file."""

    problem: Problem
    location: Location | None = None

    def row(self) -> dict[str, str | int | None]:
        """Return it as ``navarch validate`` and the admin API show it."""
        problem, place = self.problem, self.location
        return {
            "object": str(problem.object) if problem.object else None,
            "field": problem.field,
            "severity": problem.severity.value,
            "code": problem.code,
            "message": problem.message,
            "file": place.file if place else None,
            "line": place.line if place else None,
        }


class Locations(Protocol):
    """A source that knows where its objects stand."""

    def problems(self) -> tuple[LocatedProblem, ...]:
        """Return what is wrong with the documents themselves."""

    def location(self, key: Key, path: str) -> Location | None:
        """Return where the field ``path`` of the object ``key`` stands, or ``None`` where this source does not have it."""


def located_problems(between: Iterable[Problem], sources: Sequence[Locations]) -> tuple[LocatedProblem, ...]:
    """Return every Problem by file and line: those of the documents of ``sources``, and those ``between`` the objects."""
    found = [each for source in sources for each in source.problems()]
    found += (LocatedProblem(each, _first(each, sources)) for each in between)
    return tuple(sorted(dict.fromkeys(found), key=_order))


def _first(problem: Problem, sources: Sequence[Locations]) -> Location | None:
    if problem.object is None:
        return None
    places = (source.location(problem.object, problem.field) for source in sources)
    return next((place for place in places if place), None)


def _order(each: LocatedProblem) -> tuple[str, int, str, str, str]:
    place, problem = each.location or Location("", 0), each.problem
    return (place.file, place.line, str(problem.object or ""), problem.field, problem.code)
