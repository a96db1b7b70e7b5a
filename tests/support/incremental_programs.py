"""Random programs for the incremental database, and what they are worth by a definition that knows no engine."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from hypothesis import strategies as st

from controlplane.incremental.database import Database, Failed, Input, Query, ReadFailed, eager_query, query
from controlplane.incremental.failures import cycle

SIZE = 6
KEYS = range(4)
numbers = Input[int, int]("numbers", default=0)

Value: TypeAlias = "int | Failed"
Steps: TypeAlias = "tuple[Step, ...]"
Program: TypeAlias = "tuple[Steps, ...]"


@dataclass(frozen=True)
class Read:
    key: int


@dataclass(frozen=True)
class Ask:
    query: int


@dataclass(frozen=True)
class Attempt:
    query: int


@dataclass(frozen=True)
class When:
    key: int
    then: Steps


@dataclass(frozen=True)
class RaiseIf:
    total: int


Step: TypeAlias = Read | Ask | Attempt | When | RaiseIf


@dataclass(frozen=True)
class Reader:
    """What a running program reads from: an engine, or what is known already."""

    read: Callable[[int], int]
    ask: Callable[[int], int]
    attempt: Callable[[int], Value]


def run(steps: Steps, reader: Reader, total: int = 0) -> int:
    for step in steps:
        match step:
            case Read(key):
                total = (total * 2 + reader.read(key)) % 4
            case Ask(number):
                total = (total + reader.ask(number)) % 4
            case Attempt(number):
                found = reader.attempt(number)
                total = 3 if isinstance(found, Failed) else found % 3
            case When(key, then):
                total = run(then, reader, total) if reader.read(key) % 2 else total
            case RaiseIf(bad):
                if total == bad:
                    raise ValueError(f"total {total}")
    return total


class Waits(BaseException):
    def __init__(self, on: int) -> None:
        super().__init__(on)
        self.on = on


def meaning(program: Program, values: Mapping[int, int]) -> dict[int, Value]:
    """Return what each query is worth: a query waits for the first unknown one that it reads; who wait in a ring are a cycle."""
    known: dict[int, Value] = {}

    def attempt(number: int) -> Value:
        if number not in known:
            raise Waits(number)
        return known[number]

    def ask(number: int) -> int:
        found = attempt(number)
        if isinstance(found, Failed):
            raise ReadFailed(found)
        return found

    reader = Reader(lambda key: values.get(key, 0), ask, attempt)
    while len(known) < len(program):
        waits: dict[int, int] = {}
        found: dict[int, Value] = {}
        for number in set(range(len(program))) - known.keys():
            try:
                found[number] = run(program[number], reader)
            except Waits as waiting:
                waits[number] = waiting.on
            except ReadFailed as read:
                found[number] = read.failed
            except ValueError as error:
                found[number] = Failed(name_of(number), (), "ValueError", str(error))
        known |= found or _rings(waits)
    return known


def _rings(waits: dict[int, int]) -> dict[int, Value]:
    found: dict[int, Value] = {}
    for start in waits:
        ring = [start]
        while waits[ring[-1]] not in ring:
            ring.append(waits[ring[-1]])
        if waits[ring[-1]] == start:
            found[start] = cycle([(name_of(number), ()) for number in ring])
    return found


def name_of(number: int) -> str:
    """Return the name of query ``number``."""
    return f"{__name__}.q{number}"


def number_of(name: str) -> int:
    """Return the number of the query called ``name``."""
    return int(name.removeprefix(f"{__name__}.q"))


def is_eager(steps: Steps, number: int) -> bool:
    """Return whether query ``number``, which is ``steps``, is eager: half of those that read inputs only."""
    return number % 2 == 0 and all(is_eager(step.then, 0) if isinstance(step, When) else isinstance(step, Read | RaiseIf) for step in steps)


def queries(program: Program) -> list[Query[[], int]]:
    """Return ``program`` as queries of a database."""
    made: list[Query[[], int]] = []

    def make(number: int) -> Query[[], int]:
        def function(db: Database) -> int:
            return run(program[number], Reader(lambda key: numbers(db, key), lambda n: made[n](db), lambda n: db.attempt(made[n])))

        function.__name__ = f"q{number}"
        return eager_query(function) if is_eager(program[number], number) else query(function)

    made.extend(make(number) for number in range(len(program)))
    return made


def steps_over(leaves: st.SearchStrategy[Step]) -> st.SearchStrategy[Steps]:
    return st.lists(leaves | st.builds(When, keys, st.lists(leaves, max_size=3).map(tuple)), min_size=2, max_size=5).map(tuple)


def layered(steps: Steps, number: int) -> Steps:
    """Return ``steps`` of query ``number`` so that it reads smaller ones only."""
    made: list[Step] = []
    for step in steps:
        match step:
            case Ask(other) | Attempt(other):
                made.append(type(step)(other % number) if number else Read(other % len(KEYS)))
            case When(key, then):
                made.append(When(key, layered(then, number)))
            case Read() | RaiseIf():
                made.append(step)
    return tuple(made)


keys = st.sampled_from(KEYS)
numbered = st.integers(0, SIZE - 1)
leaves = st.builds(Read, keys) | st.builds(Ask, numbered) | st.builds(Attempt, numbered) | st.builds(RaiseIf, st.integers(0, 3))
tangles = st.lists(steps_over(leaves), min_size=SIZE, max_size=SIZE).map(tuple)
programs = tangles | tangles.map(lambda program: tuple(layered(steps, number) for number, steps in enumerate(program)))
