"""Tells the log of Problems: each once as one line with its file and line, and once when it is mended.

It looks at all of them again and again, between other things of the event loop, never holds that for long, and takes a small share of
the time of a processor.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Protocol

from controlplane.model.keys import Key
from controlplane.model.problems import Problem, Severity
from controlplane.objects.locations import LocatedProblem, Locations, file_order, locate_problems
from controlplane.slices import LoopShare

log = logging.getLogger(__name__)

_LOOK_S = 1.0
_LOOK_SHARE = 20.0  # and so many times as long as a look takes: in a large mesh it is most of a second of work
_MOST_S = 15.0
_MAX_LINES = 1000  # of one look; all are at /v1/problems
_LEVELS = {Severity.ERROR: logging.WARNING, Severity.WARNING: logging.WARNING, Severity.INFO: logging.DEBUG}


class ProblemsByObject(Protocol):
    """The mesh, as far as it is asked for Problems."""

    def problems_by_object(self) -> Iterator[tuple[Problem, ...]]:
        """Yield the Problems of one object after another; the mesh may change meanwhile."""


class ProblemLog:
    """What the log has been told of Problems."""

    def __init__(self, mesh: ProblemsByObject, locations: Callable[[], Sequence[Locations]], refreshes: Callable[[], int]) -> None:
        """Ask ``mesh`` when ``refreshes`` has grown, and ``locations`` for the Problems of documents and for lines."""
        self._mesh = mesh
        self._locations = locations
        self._refreshes = refreshes
        self._seen_refreshes = -1
        self._share = LoopShare()
        self._of_objects: list[Problem] = []
        self._told: Mapping[Problem, LocatedProblem] = {}

    async def run(self, ready: asyncio.Event) -> None:
        """Tell from when ``ready`` is set, how many objects are refused first, until cancelled."""
        await ready.wait()
        await self.look()
        refused = {problem.object for problem in self._told if problem.severity is Severity.ERROR}
        log.log(logging.WARNING if refused else logging.INFO, "ready", extra={"refused_objects": len(refused), "problems": len(self._told)})
        took_s = 0.0
        while True:
            await asyncio.sleep(max(_LOOK_S, min(_LOOK_SHARE * took_s, _MOST_S)))
            began = time.process_time()
            try:
                await self.look()
            except Exception:  # an internal error; the next look begins anew
                log.exception("problems not looked at")
            took_s = time.process_time() - began

    async def look(self) -> None:
        """Tell what is new and what is mended since the last look."""
        refreshes = self._refreshes()
        if refreshes != self._seen_refreshes:
            self._of_objects, self._seen_refreshes = await self._share.collected(self._mesh.problems_by_object()), refreshes
        located = await self._share.collected(locate_problems(((problem,) for problem in self._of_objects), self._locations()))
        found = {each.problem: each for each in located}
        new = sorted((found[problem] for problem in found if problem not in self._told), key=file_order)
        self._tell("problem", new, _LEVELS)
        reworded = {_place(each.problem) for each in new}
        mended = [self._told[problem] for problem in self._told if problem not in found and _place(problem) not in reworded]
        self._tell("problem mended", mended, dict.fromkeys(_LEVELS, logging.INFO) | {Severity.INFO: logging.DEBUG})
        self._told = found

    @staticmethod
    def _tell(event: str, located: Sequence[LocatedProblem], levels: Mapping[Severity, int]) -> None:
        for each in located[:_MAX_LINES]:
            problem = each.problem
            facts = {
                "where": each.location,
                "object": problem.object,
                "field": problem.field,
                "code": problem.code,
                "reason": problem.message,
            }
            log.log(levels[problem.severity], event, extra=dict(_present(facts.items()), severity=problem.severity.value))
        if len(located) > _MAX_LINES:
            log.warning("more problems", extra={"event_of_each": event, "not_shown": len(located) - _MAX_LINES})


def _place(problem: Problem) -> tuple[Key | None, str, str]:
    return problem.object, problem.field, problem.code


def _present(facts: Iterable[tuple[str, object]]) -> Iterator[tuple[str, str]]:
    return ((name, str(fact)) for name, fact in facts if fact)
