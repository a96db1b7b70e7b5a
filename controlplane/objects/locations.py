"""Where objects and their fields are in files and registries: looked up when a Problem is shown, never carried through the mesh."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from controlplane.model.keys import Key
from controlplane.model.problems import Problem, Severity


@dataclass(frozen=True, slots=True, order=True)
class Location:
    """A line, from 1, of a file; or with no line (0) a place in a registry, in words."""

    file: str
    line: int = 0

    def __str__(self) -> str:
        """Return ``file:line``."""
        return f"{self.file}:{self.line}" if self.line else self.file


@dataclass(frozen=True, slots=True)
class LocatedProblem:
    """A Problem and where in a file it is, if it is in one."""

    problem: Problem
    location: Location | None = None

    def row(self) -> dict[str, str | int | None]:
        """Return it as ``navarch validate`` and the admin API show it."""
        problem, location = self.problem, self.location
        return {
            "object": str(problem.object) if problem.object else None,
            "field": problem.field,
            "severity": problem.severity.value,
            "code": problem.code,
            "message": problem.message,
            "file": location.file if location else None,
            "line": location.line or None if location else None,
        }


class Locations(Protocol):
    """The problems of a source's documents, and where in its files its objects are."""

    def problems_by_document(self) -> Iterator[tuple[LocatedProblem, ...]]:
        """Yield what is wrong with each document by itself, document by document: with most there is nothing."""

    def location(self, key: Key, path: str) -> Location | None:
        """Return where the field ``path`` of the object ``key`` is, or ``None`` where this source does not have it."""


def located_problems(of_objects: Iterable[Problem], sources: Sequence[Locations]) -> tuple[LocatedProblem, ...]:
    """Return every Problem by file and line: those of the documents of ``sources``, and those ``of_objects``, as the mesh found them.

    Of an object that is refused as it is written now, the mesh has the last good version, whose lines no file has any more.
    """
    pieces = locate_problems([of_objects], sources)
    return tuple(sorted(dict.fromkeys(located for piece in pieces for located in piece), key=file_order))


def locate_problems(of_objects: Iterable[Iterable[Problem]], sources: Sequence[Locations]) -> Iterator[tuple[LocatedProblem, ...]]:
    """Yield what ``located_problems`` returns, in no order, a document or one of ``of_objects`` at a time: for who gives way in between."""
    refused: set[Key | None] = set()
    for source in sources:
        for of_document in source.problems_by_document():
            refused.update(each.problem.object for each in of_document if each.problem.severity is Severity.ERROR and each.location)
            yield of_document
    refused.discard(None)
    for of_object in of_objects:
        yield tuple(_located(problem, sources, refused) for problem in of_object)


def _located(problem: Problem, sources: Sequence[Locations], refused: Container[Key | None]) -> LocatedProblem:
    if problem.object in refused:
        return LocatedProblem(replace(problem, message=f"in its last good version: {problem.message}"))
    return LocatedProblem(problem, _first(problem, sources))


def _first(problem: Problem, sources: Sequence[Locations]) -> Location | None:
    if problem.object is None:
        return None
    locations = (source.location(problem.object, problem.field) for source in sources)
    return next((location for location in locations if location), None)


def file_order(located: LocatedProblem) -> tuple[str, int, str, str, str]:
    """Return by what Problems are sorted: file, line, object, field and code."""
    location, problem = located.location or Location("", 0), located.problem
    return (location.file, location.line, str(problem.object or ""), problem.field, problem.code)
